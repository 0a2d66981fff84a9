"""Secrets at rest: AES-256-GCM, bound to the subscription they belong to.

A sealed secret is a random 96-bit nonce and the ciphertext with its tag. Tenant and subscription are authenticated
with it: a row copied to another subscription does not open.
"""

import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12


class Vault:
    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"SKUTRAIL_SECRETS_KEY must be {KEY_BYTES} bytes in base64, not {len(key)}")
        self._cipher = AESGCM(key)

    def seal(self, secret: str, *, tenant_id: str, subscription_id: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), _owner(tenant_id, subscription_id))

    def open(self, sealed: bytes, *, tenant_id: str, subscription_id: str) -> str:
        """Raises cryptography.exceptions.InvalidTag for another key, another owner or changed bytes."""
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        return self._cipher.decrypt(nonce, ciphertext, _owner(tenant_id, subscription_id)).decode()


def _owner(tenant_id: str, subscription_id: str) -> bytes:
    return f"{tenant_id}\0{subscription_id}".encode()
