#!/bin/sh
# Prints every Secret the overlays refer to, with fresh random values. Nothing is written to disk:
#
#   deploy/k8s/make-secrets.sh | kubectl create -f -
#
# `create` leaves a Secret that exists as it is: run again, it adds what is missing.
# Passwords are letters and digits and begin with a letter: they stand in URLs and in nats.conf as they are.
set -eu

password() {
    hex=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    [ ${#hex} -eq 48 ] || exit 1
    printf 'p%s' "$hex"
}

key() { # 32 bytes in base64
    text=$(head -c 32 /dev/urandom | base64)
    [ ${#text} -eq 44 ] || exit 1
    printf '%s' "$text"
}

secret() { # name, type; the data follows
    printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: skutrail\ntype: %s\nstringData:\n' "$1" "$2"
}

entry() { # key, value
    printf '  %s: "%s"\n' "$1" "$2"
}

role() { # name of the Secret, role; CloudNativePG reads this form too
    value=$(password)
    secret "$1" kubernetes.io/basic-auth
    entry username "$2"
    entry password "$value"
}

role database-superuser postgres
for name in inventory shipments orders webhooks gateway; do
    role "database-$name-owner" "skutrail_${name}_owner"
    role "database-$name" "skutrail_$name"
done

secret nats-passwords Opaque
for name in inventory shipments orders webhooks migrate; do
    value=$(password)
    entry "$name" "$value"
done

secret application-keys Opaque
for name in link-key secrets-key cursor-key; do
    value=$(key)
    entry "$name" "$value"
done
