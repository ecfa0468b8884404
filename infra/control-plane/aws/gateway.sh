#!/bin/bash
# What the gateway's machine does at its first start. No secret stands here: token and host key come from SSM, into
# memory, and the token is fetched anew every five minutes (the gateway takes a new one when the old is refused).
set -euo pipefail
umask 077

dnf install -y -q python3.11 unzip
useradd --system --home-dir /nonexistent --shell /sbin/nologin nightingale
install -d -m 755 /opt/nightingale
aws s3 cp --region '${region}' '${package}' /run/gateway.zip --only-show-errors
unzip -q /run/gateway.zip -d /opt/nightingale
chmod -R a+rX /opt/nightingale
rm /run/gateway.zip

install -d -m 755 /etc/nightingale
cat >/etc/nightingale/gateway.json <<'JSON'
{
  "api_url": "${api_url}",
  "token_file": "/run/nightingale-gateway/token",
  "listen_host": "0.0.0.0",
  "listen_port": ${port},
  "host_key_file": "/run/nightingale-gateway/host_key",
  "ready_file": "/run/nightingale-gateway/ready.json"
}
JSON
chown -R nightingale: /etc/nightingale
chmod 600 /etc/nightingale/gateway.json

cat >/usr/local/sbin/nightingale-secrets <<'SCRIPT'
#!/bin/bash
set -euo pipefail
umask 077
folder=/run/nightingale-gateway
install -d -o nightingale -g nightingale -m 700 "$folder"
for name in token host_key; do
    aws ssm get-parameter --region '${region}' --name '${parameters}/'"$name" --with-decryption \
        --query Parameter.Value --output text >"$folder/.$name.new"
    chown nightingale: "$folder/.$name.new"
    mv "$folder/.$name.new" "$folder/$name"
done
SCRIPT
chmod 700 /usr/local/sbin/nightingale-secrets

cat >/etc/systemd/system/nightingale-secrets.service <<'UNIT'
[Unit]
Description=The gateway's token and host key
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

# The machine's own credentials are root's: the gateway cannot ask for them.
cat >/etc/systemd/system/nightingale-gateway.service <<'UNIT'
[Unit]
Description=Nightingale's SSH gateway
Requires=nightingale-secrets.service
After=nightingale-secrets.service

[Service]
User=nightingale
Environment=PYTHONPATH=/opt/nightingale
ExecStart=/usr/bin/python3.11 -m nightingale_gateway --config /etc/nightingale/gateway.json
Restart=always
RestartSec=5
IPAddressDeny=169.254.169.254
NoNewPrivileges=true
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=true
PrivateTmp=true
PrivateDevices=true
ReadWritePaths=/run/nightingale-gateway

[Install]
WantedBy=multi-user.target
UNIT

systemctl daemon-reload
systemctl enable --now nightingale-secrets.timer
systemctl enable nightingale-gateway.service
# At the platform's very first deployment the token is written minutes after this machine was started.
until systemctl start nightingale-gateway.service; do sleep 10; done
