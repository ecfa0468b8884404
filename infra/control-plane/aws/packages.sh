#!/bin/bash
# What the package index's machine does at its first start. No secret stands here: token and key pair come from SSM, into
# memory, and the token is fetched anew every five minutes (it is read at each question).
set -euo pipefail
umask 077

dnf install -y -q python3.11 unzip
useradd --system --home-dir /nonexistent --shell /sbin/nologin nightingale
install -d -m 755 /opt/nightingale
aws s3 cp --region '${region}' '${package}' /run/packages.zip --only-show-errors
unzip -q /run/packages.zip -d /opt/nightingale
chmod -R a+rX /opt/nightingale
rm /run/packages.zip

install -d -m 755 /etc/nightingale
cat >/etc/nightingale/packages.json <<'JSON'
{
  "api_url": "${api_url}",
  "token_file": "/run/nightingale-index/token",
  "pair_file": "/run/nightingale-index/pair",
  "folder": "/var/lib/nightingale-packages/files",
  "listen_host": "0.0.0.0",
  "listen_port": ${port},
  "index": "${index}"
}
JSON
chmod 644 /etc/nightingale/packages.json

cat >/usr/local/sbin/nightingale-secrets <<'SCRIPT'
#!/bin/bash
set -euo pipefail
umask 077
folder=/run/nightingale-index
install -d -o nightingale -g nightingale -m 700 "$folder"
for name in token pair; do
    aws ssm get-parameter --region '${region}' --name '${parameters}/'"$name" --with-decryption \
        --query Parameter.Value --output text >"$folder/.$name.new"
    chown nightingale: "$folder/.$name.new"
    mv "$folder/.$name.new" "$folder/$name"
done
SCRIPT
chmod 700 /usr/local/sbin/nightingale-secrets

cat >/etc/systemd/system/nightingale-secrets.service <<'UNIT'
[Unit]
Description=The package index's token and key pair
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/nightingale-secrets
UNIT

cat >/etc/systemd/system/nightingale-secrets.timer <<'UNIT'
[Timer]
OnUnitInactiveSec=5min

[Install]
WantedBy=timers.target
UNIT

# The machine's own credentials are root's: what reads strangers' pages cannot ask for them.
cat >/etc/systemd/system/nightingale-packages.service <<'UNIT'
[Unit]
Description=Nightingale's package index
Requires=nightingale-secrets.service
After=nightingale-secrets.service

[Service]
User=nightingale
Environment=PYTHONPATH=/opt/nightingale
Environment=HTTPS_PROXY=${proxy}
ExecStart=/usr/bin/python3.11 -m nightingale_local.index_service /etc/nightingale/packages.json
Restart=always
RestartSec=5
IPAddressDeny=169.254.169.254
NoNewPrivileges=true
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=true
PrivateTmp=true
PrivateDevices=true
StateDirectory=nightingale-packages
StateDirectoryMode=0700

[Install]
WantedBy=multi-user.target
UNIT

systemctl daemon-reload
systemctl enable --now nightingale-secrets.timer
systemctl enable nightingale-packages.service
# At the platform's very first deployment the token is written minutes after this machine was started.
until systemctl start nightingale-packages.service; do sleep 10; done
