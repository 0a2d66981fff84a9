"""Receivers who use any Standard Webhooks library, or twenty lines of their own, accept what we sign."""

import base64
import hashlib
import hmac
import json
import random
import time

import pytest
import standardwebhooks
import svix.webhooks
from standardwebhooks.webhooks import WebhookVerificationError

from services.webhooks import signing

# The published vector of the specification's libraries.
ID, TIMESTAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VERIFIERS = [standardwebhooks.Webhook, svix.webhooks.Webhook]


def signature(secret: str, body: bytes = BODY) -> str:
    return signing.headers(secret, message_id=ID, timestamp=TIMESTAMP, body=body)["webhook-signature"]


def test_the_published_vector_is_reproduced() -> None:
    assert signing.headers(STANDARD, message_id=ID, timestamp=TIMESTAMP, body=BODY) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_secret_that_is_not_standard_signs_as_the_libraries_read_it_and_as_the_raw_string() -> None:
    assert signature("whsec_REPLACE") == (
        "v1,lOmqC732J6xFjSPlpFQDBhIwEBEhYjr6JehIV1V1FOw= v1,fEokL5Re+WNpk7Zy/n+Tn9HiiSBg2elCuXCG8XOkjHY="
    )


@pytest.mark.parametrize("make_verifier", VERIFIERS)
@pytest.mark.parametrize(
    "secret", [STANDARD, "whsec_REPLACE", signing.make_secret(bytes(range(32))), "aGVsbG8gd29ybGQ="]
)
def test_a_thousand_random_bodies_verify(make_verifier: type[standardwebhooks.Webhook], secret: str) -> None:
    chance, now = random.Random(20260422), int(time.time())
    verifier = make_verifier(secret)
    for number in range(1_000):
        text = "".join(chr(chance.randrange(1, 0xD7FF)) for _ in range(chance.randrange(0, 200)))
        body = json.dumps({"text": text}, ensure_ascii=number % 2 == 0).encode()
        headers = signing.headers(secret, message_id=f"evt_{number}", timestamp=now, body=body)

        verifier.verify(body, headers)


@pytest.mark.parametrize(
    "secret", ["whsec_my-secret_value!", "whsec_abcde", "correct horse battery staple", "x", "~", "whpk_1SiA4o9hyq"]
)
def test_a_receiver_that_takes_the_raw_string_as_the_key_verifies(secret: str) -> None:
    expected = hmac.new(secret.encode(), f"{ID}.{TIMESTAMP}.".encode() + BODY, hashlib.sha256).digest()

    assert "v1," + base64.b64encode(expected).decode() in signature(secret).split(" ")


def test_a_secret_that_decodes_to_nothing_signs_as_the_raw_string_alone() -> None:
    assert signing.keys_of("whsec_") == [b"whsec_"]


@pytest.mark.parametrize("make_verifier", VERIFIERS)
@pytest.mark.parametrize("secret", [STANDARD, "whsec_REPLACE"])
def test_what_was_tampered_with_does_not_verify(make_verifier: type[standardwebhooks.Webhook], secret: str) -> None:
    now = int(time.time())
    headers = signing.headers(secret, message_id=ID, timestamp=now, body=BODY)
    flipped = bytes([BODY[0] ^ 1]) + BODY[1:]
    old = signing.headers(secret, message_id=ID, timestamp=now - 301, body=BODY)
    verifier = make_verifier(secret)

    verifier.verify(BODY, headers)
    for body, given in [
        (flipped, headers),
        (BODY[:-1], headers),
        (BODY, {**headers, "webhook-id": "msg_other"}),
        (BODY, {**headers, "webhook-timestamp": str(now - 1)}),
        (BODY, old),
    ]:
        with pytest.raises(WebhookVerificationError):
            verifier.verify(body, given)
    with pytest.raises(WebhookVerificationError):
        make_verifier(signing.make_secret(bytes(32))).verify(BODY, headers)


@pytest.mark.parametrize(("key_bytes", "signatures"), [(1, 2), (23, 2), (24, 1), (32, 1), (64, 1), (65, 2), (100, 2)])
def test_the_standard_form_is_24_to_64_bytes_and_signs_once(key_bytes: int, signatures: int) -> None:
    for secret in (made := signing.make_secret(bytes(range(key_bytes))), made.rstrip("=")):
        assert len(signature(secret).split(" ")) == signatures


def test_no_signature_is_malformed_whatever_the_secret() -> None:
    """An empty entry, or one without a comma, makes the reference libraries raise before they find the right one."""
    chance = random.Random(7)
    for _ in range(2_000):
        secret = "".join(chr(chance.randrange(0x20, 0x7F)) for _ in range(chance.randrange(1, 40)))
        assert signing.fault_of_secret(secret) is None
        entries = signature(secret).split(" ")
        assert all(entry.startswith("v1,") and len(base64.b64decode(entry[3:])) == 32 for entry in entries)
        assert len(entries) in (1, 2)


@pytest.mark.parametrize("secret", ["", "whsec_\n", "tab\tbed", "nul\0", "\x7f", "é", "whsec_\u00a0", "x" * 257])
def test_a_secret_that_cannot_be_used_is_refused(secret: str) -> None:
    assert signing.fault_of_secret(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "whsec_REPLACE",
        STANDARD,
        "x",
        "x" * 256,
        "with space",
        " ",
        "v1," + STANDARD,
        "whsec_",
        "whpk_",
        "whpk_1SiA4o9hyq",
    ],
)
def test_any_other_printable_secret_is_accepted(secret: str) -> None:
    assert signing.fault_of_secret(secret) is None
    assert signing.keys_of(secret)


def test_a_made_secret_is_in_the_standard_form() -> None:
    secret = signing.make_secret(bytes(range(32)))

    assert secret == "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert signing.keys_of(secret) == [bytes(range(32))]
