"""Certificates for HTTPS servers in tests, made on the spot by the openssl command line."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from tests.support.needs import needed


def make_certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a server-side TLS context for 127.0.0.1 and the certificate file that a client has to trust."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = [
        needed("openssl", "openssl"),
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate
