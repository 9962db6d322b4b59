"""A development certificate: encrypts the way to this machine, trusted by whoever is given its file."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from typing import TYPE_CHECKING

from kit.errors import require

if TYPE_CHECKING:
    from pathlib import Path

_DAYS = 30


def develop(folder: Path, host: str) -> tuple[Path, Path]:
    """Write a self-signed certificate for localhost and `host`, and its private key; return their paths.

    Raises:
        MissingExtraError: when `cryptography` is not installed.
    """
    x509 = require("cryptography.x509", "serve")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "maaskit development")])
    addresses = {ipaddress.ip_address("127.0.0.1")}
    names = {"localhost"}
    try:
        addresses.add(ipaddress.ip_address(host))
    except ValueError:
        names.add(host)
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [*(x509.DNSName(n) for n in sorted(names)), *(x509.IPAddress(a) for a in addresses)]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "private_key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    handle = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return certificate, private
