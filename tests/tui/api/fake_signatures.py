"""Real SSHSIG checks for the fake platform, by `ssh-keygen -Y verify`."""

import subprocess
import tempfile
from pathlib import Path

from nightingale.contract.schemas import LOGIN_NAMESPACE


def signer_of(message: bytes, signature: str, keys: dict[str, str]) -> str | None:
    """Return the person (of `keys`: person to public key line) who signed `message` for login, or None."""
    with tempfile.TemporaryDirectory() as folder:
        signers, armoured = Path(folder, "signers"), Path(folder, "signature")
        signers.write_text("".join(f"{person} {key}\n" for person, key in keys.items()))
        armoured.write_text(signature)
        for person in keys:
            check = subprocess.run(
                ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", person, "-n", LOGIN_NAMESPACE, "-s", armoured],
                input=message,
                capture_output=True,
                check=False,
            )
            if check.returncode == 0:
                return person
    return None
