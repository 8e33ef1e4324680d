#!/bin/sh
# Makes the secrets of docker-compose.yml that are missing, in the folder $1 (deploy/secrets). What is there, stays: to
# renew one, remove its file (and clickhouse-users.xml, if it is one of ClickHouse's), run this again, and restart.
#
# The folder is yours alone. The files can be read by all who get that far, because the containers' users must: Compose
# hands a file to them with the rights that it has here.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 0700 "$folder"

random() {
    head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}

put() { # name, content
    (umask 0222 && printf '%s\n' "$2" >"$folder/$1.new")
    mv -f "$folder/$1.new" "$folder/$1"
    echo "made  $folder/$1"
}

sha256_of() { # name
    tr -d '\n' <"$folder/$1" | sha256sum | cut -d ' ' -f 1
}

for name in clickhouse-password clickhouse-admin-password clickhouse-grafana-password grafana-admin-password \
    operators-token milestones-token; do
    [ -s "$folder/$name" ] || put "$name" "$(random)"
done

[ -s "$folder/clickhouse-users.xml" ] || put clickhouse-users.xml "<clickhouse>
    <users>
        <crosscredit>
            <password_sha256_hex>$(sha256_of clickhouse-password)</password_sha256_hex>
        </crosscredit>
        <crosscredit_admin>
            <password_sha256_hex>$(sha256_of clickhouse-admin-password)</password_sha256_hex>
        </crosscredit_admin>
        <crosscredit_grafana>
            <password_sha256_hex>$(sha256_of clickhouse-grafana-password)</password_sha256_hex>
        </crosscredit_grafana>
    </users>
</clickhouse>"
