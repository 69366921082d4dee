"""Web servers in front of ``git http-backend``: nginx with TLS and passwords, Apache, lighttpd."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.realservers.packages import program
from tests.realservers.serving import (
    Service,
    accepts,
    free_port,
    git_version,
    open_folder,
    running,
    version_of,
)
from tests.support.gitcli import Repo

USER, PASSWORD = "runner", "a:pass word"

_NGINX = """
{user}
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi;
    proxy_temp_path {folder}/proxy;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size {max_body};
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        auth_basic "git";
        auth_basic_user_file {folder}/users;
        location / {{
            fastcgi_pass unix:{folder}/fcgi.sock;
            fastcgi_param SCRIPT_FILENAME {backend};
            fastcgi_param GIT_PROJECT_ROOT {root};
            fastcgi_param GIT_HTTP_EXPORT_ALL 1;
            fastcgi_param GIT_PROTOCOL $http_git_protocol;
            fastcgi_param PATH_INFO $uri;
            fastcgi_param REMOTE_USER $remote_user;
            fastcgi_param REMOTE_ADDR $remote_addr;
            fastcgi_param QUERY_STRING $query_string;
            fastcgi_param REQUEST_METHOD $request_method;
            fastcgi_param CONTENT_TYPE $content_type;
            fastcgi_param CONTENT_LENGTH $content_length;
            fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
            fastcgi_param SERVER_PROTOCOL $server_protocol;
        }}
    }}
}}
"""

_APACHE = """
ServerRoot {folder}
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {folder}/httpd.pid
ErrorLog {folder}/error.log
DefaultRuntimeDir {folder}
ScriptSock {folder}/cgid.sock
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule alias_module {modules}/mod_alias.so
LoadModule env_module {modules}/mod_env.so
LoadModule setenvif_module {modules}/mod_setenvif.so
LoadModule cgid_module {modules}/mod_cgid.so
{user}
SetEnv GIT_PROJECT_ROOT {root}
SetEnv GIT_HTTP_EXPORT_ALL 1
SetEnv GIT_CONFIG_COUNT 1
SetEnv GIT_CONFIG_KEY_0 safe.directory
SetEnv GIT_CONFIG_VALUE_0 *
SetEnvIf Git-Protocol ".*" GIT_PROTOCOL=$0
ScriptAlias / {backend}/
<Directory "/">
    Require all granted
</Directory>
"""

_LIGHTTPD = """
server.modules = ("mod_alias", "mod_setenv", "mod_cgi")
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{folder}"
server.errorlog = "{folder}/error.log"
server.upload-dirs = ("{folder}")
alias.url = ("" => "{backend}")
setenv.set-environment = ("GIT_PROJECT_ROOT" => "{root}", "GIT_HTTP_EXPORT_ALL" => "1")
$REQUEST_HEADER["Git-Protocol"] == "version=2" {{
    setenv.add-environment = ("GIT_PROTOCOL" => "version=2")
}}
cgi.assign = ("" => "")
"""


def make_authority(folder: Path) -> Path:
    """Make a certificate authority and a server certificate signed by it; return the authority's certificate."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    ca, request, extension = folder / "ca.pem", folder / "request.pem", folder / "extension"
    extension.write_text("subjectAltName=IP:127.0.0.1\n", encoding="ascii")
    for words in (
        ["req", "-x509", *curve, "-subj", "/CN=test authority", "-keyout", folder / "ca.key", "-out", ca],
        ["req", *curve[:5], "-subj", "/CN=127.0.0.1", "-keyout", folder / "key.pem", "-out", request],
        [
            *("x509", "-req", "-in", request, "-CA", ca, "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "2"),
            *("-extfile", extension, "-out", folder / "cert.pem"),
        ],
    ):
        subprocess.run([program("openssl"), *map(str, words)], check=True, capture_output=True)
    return ca


@contextmanager
def nginx(max_body: str = "8m") -> Iterator[Service]:
    """Start nginx with fcgiwrap: HTTPS with a certificate of our own authority, and a password."""
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder())
        root, port, log = folder / "served", free_port(), folder / "log"
        root.mkdir()
        ca = make_authority(folder)
        hashed = subprocess.run(
            ["openssl", "passwd", "-apr1", PASSWORD], check=True, capture_output=True, text=True
        ).stdout
        (folder / "users").write_text(f"{USER}:{hashed}", encoding="ascii")
        config = folder / "nginx.conf"
        config.write_text(
            _NGINX.format(
                user="user root;" if os.geteuid() == 0 else "",
                folder=folder,
                root=root,
                port=port,
                backend=program("git-http-backend"),
                max_body=max_body,
            ),
            encoding="ascii",
        )
        socket = folder / "fcgi.sock"
        stack.enter_context(
            running([program("fcgiwrap"), "-c", "16", "-s", f"unix:{socket}"], socket.exists, log, environ={})
        )
        words: list[str | Path] = [program("nginx"), "-c", config, "-p", folder, "-e", folder / "error.log"]
        stack.enter_context(running(words, accepts(port), log))
        product = version_of([program("nginx"), "-v"], r"nginx/(\S+)")
        password = PASSWORD.replace(":", "%3A").replace(" ", "%20")
        yield Service(
            name="nginx",
            version=f"nginx {product} + git {git_version()}",
            agent="git/",
            where=lambda name: root / name,
            address=lambda name: f"https://{USER}:{password}@127.0.0.1:{port}/{name}",
            environ={"GIT_SSL_CAINFO": str(ca)},
        )


@contextmanager
def apache() -> Iterator[Service]:
    """Start Apache with its threaded worker and CGI daemon, as another user when we are root."""
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder())
        root, port, log = folder / "served", free_port(), folder / "log"
        root.mkdir()
        is_root = os.geteuid() == 0
        config = folder / "httpd.conf"
        config.write_text(
            _APACHE.format(
                folder=folder,
                root=root,
                port=port,
                modules="/usr/lib/apache2/modules",
                user="User www-data\nGroup www-data" if is_root else "",
                backend=program("git-http-backend"),
            ),
            encoding="ascii",
        )
        words: list[str | Path] = [program("apache2"), "-f", config, "-DFOREGROUND"]
        stack.enter_context(running(words, accepts(port), log))
        product = version_of([program("apache2"), "-v"], r"Apache/(\S+)")
        yield Service(
            name="apache",
            version=f"Apache {product} + git {git_version()}",
            agent="git/",
            where=lambda name: root / name,
            address=lambda name: f"http://127.0.0.1:{port}/{name}",
            prepare=open_to_all if is_root else lambda repo: None,
        )


def open_to_all(repo: Repo) -> None:
    """Let any user of this machine write to the repository."""
    repo.config("core.sharedRepository", "0666")
    for path in [repo.path, *repo.path.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)


@contextmanager
def lighttpd() -> Iterator[Service]:
    """Start lighttpd with CGI."""
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder())
        root, port, log = folder / "served", free_port(), folder / "log"
        root.mkdir()
        config = folder / "lighttpd.conf"
        text = _LIGHTTPD.format(folder=folder, root=root, port=port, backend=program("git-http-backend"))
        config.write_text(text, encoding="ascii")
        stack.enter_context(running([program("lighttpd"), "-D", "-f", config], accepts(port), log))
        product = version_of([program("lighttpd"), "-v"], r"lighttpd/(\S+)")
        yield Service(
            name="lighttpd",
            version=f"lighttpd {product} + git {git_version()}",
            agent="git/",
            where=lambda name: root / name,
            address=lambda name: f"http://127.0.0.1:{port}/{name}",
        )
