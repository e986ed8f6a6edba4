"""Where a Kafka cluster is, which topics, and how to log in: one URL, completed by the environment.

    kafka://[user:password@]host:port[,host:port…][/topic[,topic…]][?tls=1&ca=F&cert=F&key=F&sasl=MECHANISM]

What the URL does not say may stand in STREAMREC_KAFKA_USER, …_PASSWORD, …_TLS, …_CA, …_CERT, …_KEY and
…_SASL, so that no password need be written into a command line or a manifest.
"""

import difflib
import os
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from streamrec.errors import UsageError

__all__ = ["KafkaUrl", "Security", "beside", "check_topic", "parse_url"]

_FORM = "kafka://host:port/topic[,topic…]"
_PORT = 9092  # Kafka's own default
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")  # what a broker accepts
_KEYS = ("ca", "cert", "key", "sasl", "tls")
_FILES = ("ca", "cert", "key")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no")
_PREFIX = "STREAMREC_KAFKA_"


class Security(NamedTuple):
    """How to connect: encrypted or not, and who we are."""

    tls: bool = False
    ca: str | None = None  # file of the authorities to believe; None: those of the machine
    cert: str | None = None  # our own certificate and its key: files
    key: str | None = None
    sasl: str | None = None  # PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
    user: str | None = None
    password: str | None = None

    @property
    def protocol(self) -> str:
        """Kafka's name for it: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
        transport = "SSL" if self.tls else "PLAINTEXT"
        return f"SASL_{transport}" if self.sasl else transport


class KafkaUrl(NamedTuple):
    """A cluster and, where the URL names some, topics of it."""

    servers: tuple[str, ...]  # host:port; at least one
    topics: tuple[str, ...] = ()
    security: Security = Security()

    @property
    def shown(self) -> str:
        """The URL without its password, for messages."""
        user = f"{self.security.user}@" if self.security.user else ""
        topics = "/" + ",".join(self.topics) if self.topics else ""
        return f"kafka://{user}{','.join(self.servers)}{topics}"

    def some_topics(self) -> tuple[str, ...]:
        """The topics, at least one.

        Raises:
            UsageError: the URL names none.

        """
        if not self.topics:
            raise UsageError(f"{self.shown}: no topic: expected {_FORM}")
        return self.topics

    def one_topic(self) -> str:
        """The topic.

        Raises:
            UsageError: the URL names none, or several.

        """
        if len(self.some_topics()) > 1:
            raise UsageError(f"{self.shown}: {len(self.topics)} topics, where one is expected")
        return self.topics[0]


def check_topic(name: str, where: str) -> str:
    """The name, if a broker would accept it as a topic's.

    Raises:
        UsageError: it would not.

    """
    if not _TOPIC.fullmatch(name) or name in {".", ".."}:
        raise UsageError(
            f"{where}: {name!r} is no topic name: expected at most 249 letters, digits, dots, - and _"
        )
    return name


def parse_url(text: str, environ: Mapping[str, str] | None = None) -> KafkaUrl:
    """The URL's parts; what it does not say is taken from the environment.

    >>> parse_url("kafka://ann:s3cret@a:9092,b/clicks?tls=1", {}).shown
    'kafka://ann@a:9092,b:9092/clicks'

    Raises:
        UsageError: a part is missing or wrong; names it, never the password.

    """
    scheme, found, rest = text.partition("://")
    shown = re.sub(r"//.*@", "//…@", text)
    if not found or scheme != "kafka":
        raise UsageError(f"{shown}: expected {_FORM}")
    rest, _, query = rest.partition("?")
    place, _, path = rest.partition("/")
    if "@" in path + query:
        raise UsageError(f"{shown}: in a user, password or file write / as %2F, ? as %3F and @ as %40")
    login, _, hosts = place.rpartition("@")
    servers = tuple(_server(host, shown) for host in hosts.split(","))
    topics = tuple(check_topic(unquote(name), shown) for name in path.split(",")) if path else ()
    if len(set(topics)) < len(topics):
        raise UsageError(f"{shown}: a topic is named twice")
    settings = _settings(query, shown, os.environ if environ is None else environ)
    user, _, password = login.partition(":")
    if user:
        settings |= {"user": unquote(user)}
    if password:
        settings |= {"password": unquote(password)}
    return KafkaUrl(servers, topics, _security(settings, shown))


def beside(text: str, topic: str) -> str:
    """The URL of another topic of the same cluster.

    >>> beside("kafka://a:9092/clicks,views?tls=1", "clicks.rejects")
    'kafka://a:9092/clicks.rejects?tls=1'

    Raises:
        UsageError: no such topic could be.

    """
    check_topic(topic, text.partition("?")[0].rpartition("@")[2])
    scheme, _, rest = text.partition("://")
    rest, found, query = rest.partition("?")
    return f"{scheme}://{rest.partition('/')[0]}/{topic}{found}{query}"


def _server(text: str, shown: str) -> str:
    """host:port; an IPv6 address stands in brackets."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]+)(?::(.*))?", text)
    if match is None:
        raise UsageError(f"{shown}: {text!r} is no host:port: expected {_FORM}")
    host, port = match[1], match[2] if match[2] is not None else str(_PORT)
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise UsageError(f"{shown}: port {port!r}: expected a number from 1 to 65535")
    return f"{host}:{port}"


def _settings(query: str, shown: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Every setting's text, by its name in `Security`: the environment's, then the URL's."""
    names = {f"{_PREFIX}{key.upper()}": key for key in (*_KEYS, "user", "password")}
    settings = {key: environ[name] for name, key in names.items() if environ.get(name)}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{shown}: unknown setting {key!r}: expected {', '.join(_KEYS)}{hint}")
        settings[key] = value
    return settings


def _security(settings: dict[str, str], shown: str) -> Security:
    files = {key: _file(key, settings[key], shown) for key in _FILES if settings.get(key)}
    if ("cert" in files) != ("key" in files):
        raise UsageError(f"{shown}: a client certificate needs both cert=FILE and key=FILE")
    tls = _flag(settings["tls"], shown) if "tls" in settings else bool(files)
    if files and not tls:
        raise UsageError(f"{shown}: tls=0 contradicts {', '.join(f'{key}=' for key in files)}")
    user, password, sasl = settings.get("user"), settings.get("password"), settings.get("sasl")
    if (user or sasl) and not (user and password):
        raise UsageError(
            f"{shown}: a login needs user and password: expected kafka://user:password@… or "
            f"{_PREFIX}USER and {_PREFIX}PASSWORD"
        )
    mechanism = _mechanism(sasl or "SCRAM-SHA-512", shown) if user else None
    return Security(tls, **files, sasl=mechanism, user=user, password=password if user else None)


def _mechanism(name: str, shown: str) -> str:
    if name.upper() not in _MECHANISMS:
        near = difflib.get_close_matches(name.upper(), _MECHANISMS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"{shown}: sasl={name!r}: expected {', '.join(_MECHANISMS)}{hint}")
    return name.upper()


def _flag(text: str, shown: str) -> bool:
    if text.lower() not in (*_YES, *_NO):
        raise UsageError(f"{shown}: tls={text!r}: expected 1 or 0")
    return text.lower() in _YES


def _file(key: str, path: str, shown: str) -> str:
    if not os.path.isfile(path):
        raise UsageError(f"{shown}: {key}={path}: there is no such file")
    return path
