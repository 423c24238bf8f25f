"""The files of ``--tls``: a certificate with its chain, and the private key that belongs to it."""

from __future__ import annotations

import contextlib
import ssl

from kallithea_tune.errors import ConfigError
from kallithea_tune.text import shell_word


class _Encrypted(Exception):
    """OpenSSL needs the password of a key."""


def require_pair(certificate: str, key: str) -> None:
    """Raise ConfigError unless these are files that a web server can use together.

    The key is read by OpenSSL only, and neither shown nor kept.
    """
    for path in (certificate, key):
        try:
            with open(path, "rb") as file:
                file.read(1)
        except OSError as error:
            raise ConfigError(f"--tls {path} cannot be read: {error.strerror}") from None

    def password() -> str:
        raise _Encrypted

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password)
    except _Encrypted:
        raise ConfigError(
            f"--tls {key} is encrypted, and a web server would wait for its password; "
            "give a key without one"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"--tls: the key {key} does not belong to {certificate}; "
                "give the certificate first, then its own key"
            ) from None
        if error.reason:
            reason = error.reason.lower().replace("_", " ")
            raise ConfigError(f"--tls: OpenSSL refuses {certificate}: {reason}") from None
        _require_certificate(certificate)
        raise ConfigError(f"--tls {key} is not a private key in PEM format") from None
    except OSError as error:
        raise ConfigError(f"--tls {certificate} cannot be read: {error.strerror}") from None


def require_key_beside(certificate: str, key: str) -> None:
    """Raise ConfigError unless the key is found without its path: in the certificate's own file, or
    beside it with ``.key`` after the name. There alone HAProxy looks (``ssl-load-extra-files``).
    """
    beside = certificate + ".key"
    for path in (certificate, beside):
        with contextlib.suppress(ConfigError):
            require_pair(certificate, path)
            return
    raise ConfigError(
        f"--tls: haproxy reads the key from {beside}, or from the certificate; create it with: "
        f"ln -s {shell_word(key)} {shell_word(beside)}"
    )


def _require_certificate(path: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ConfigError(
            f"--tls {path} is not a certificate in PEM format; give CERTIFICATE KEY, such as "
            "fullchain.pem privkey.pem"
        ) from None
