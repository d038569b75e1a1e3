"""A self-signed certificate for a trial of the containers; browsers warn of it."""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = ("rapport.localhost", "localhost", "127.0.0.1", "::1")
VALID = timedelta(days=365)


def make(hosts: Sequence[str] = ()) -> bytes:
    """Return certificate and key in PEM, in the order that HAProxy and nginx read from one file.

    Args:
        hosts: names and addresses for which it is valid, besides those of this machine.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    names = [*dict.fromkeys([*hosts, *NAMES])]
    # the name of the subject is for people; what counts are the alternative names, which have no limit of 64 letters
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Rapport, for a trial")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # a clock may be slow
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host.encode("idna").decode() if not host.isascii() else host)
