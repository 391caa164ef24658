"""Shared by the fault and high-availability tests: processes on loopback, callers that retry as the README says, and the
comparison of acknowledged changes with the journal.

Every caller sends one change after the other. Most have an idempotency key, which is also their request id, and are repeated at
any replica until they are answered or 30 s are over. Every third has no key: the service makes it with a single statement, it
is sent once, and if it is not answered, the caller goes on with another account. Some changes are ones that must be refused.
Afterwards the journal shows how often each change was applied."""

import asyncio
import contextlib
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RETRY_FOR = 30.0
# The superuser's password, where one is needed.
PASSWORD = "super"


def binaries():
    """The folder of the newest PostgreSQL that is installed."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else pathlib.Path(shutil.which("postgres")).resolve().parent


def user():
    """The user to run PostgreSQL as: it refuses to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(name, look, patience=60.0):
    """Calls `look` until it finds something. Fails after `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise SystemExit(f"{name}: not within {patience:.0f} s")
        time.sleep(0.02)


def tree(pid):
    """A process and all of its descendants, in any process group."""
    found = [pid]
    for parent in found:
        for task in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in task.read_text().split()]
    return found


class Lab:
    """A folder and processes. Both are removed at the end; the folder stays after a failure."""

    def __init__(self, name):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"steward-{name}-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for process in reversed(self.processes):
            if process.poll() is None:
                for pid in reversed(tree(process.pid)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                process.wait()
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"the logs are in {self.folder}", file=sys.stderr)

    def place(self, name):
        """A folder that PostgreSQL's user may write in."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        if user():
            entry = pwd.getpwnam("postgres")
            os.chown(path, entry.pw_uid, entry.pw_gid)
        return path

    def start(self, name, command, env=None, as_postgres=False):
        """Starts a process in its own group, so that it can be killed with its children."""
        log = open(self.folder / f"{name}.log", "ab")
        options = user() if as_postgres else {}
        process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/tmp", env=env, start_new_session=True, **options
        )
        self.processes.append(process)
        return process


class Postgres:
    """A durable PostgreSQL on its own port."""

    def __init__(self, lab, name="postgres", folder=None, settings=()):
        self.lab, self.name, self.port = lab, name, free_port()
        self.data = (folder or lab.place(name)) / "data"
        command = [binaries() / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--data-checksums"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/tmp", **user())
        self.settings = ["listen_addresses=127.0.0.1", f"port={self.port}", f"unix_socket_directories={self.data.parent}", "shared_buffers=64MB", *settings]
        self.process = None
        self.start()
        self.sql("create database steward", database="postgres")

    @property
    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/steward"

    def start(self):
        options = [part for setting in self.settings for part in ("-c", setting)]
        self.process = self.lab.start(self.name, [binaries() / "postgres", "-D", self.data, *options], as_postgres=True)
        wait_for("PostgreSQL", self.is_up)

    def is_up(self):
        command = [binaries() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def kill(self):
        """Kills the server and all of its processes with SIGKILL."""
        for pid in tree(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def freeze(self):
        for pid in tree(self.process.pid):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in reversed(tree(self.process.pid)):
            os.kill(pid, signal.SIGCONT)

    def stop(self, how=signal.SIGINT):
        os.kill(self.process.pid, how)
        self.process.wait()

    def sql(self, statement, database="steward"):
        return sql(self.port, statement, database)


def sql(port, statement, database="steward"):
    """The rows that the statement returns, as lists of texts."""
    command = [shutil.which("psql") or binaries() / "psql", "-X", "-A", "-t", "-F", "\t", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-d", database]
    command = [str(part) for part in command] + ["-v", "ON_ERROR_STOP=1", "-c", statement]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {"PGPASSWORD": PASSWORD, "PGCONNECT_TIMEOUT": "5"})
    return [line.split("\t") for line in done.stdout.splitlines()]


class Steward:
    """A replica of the service."""

    def __init__(self, lab, name="steward", env=None, wrapper=()):
        self.lab, self.name = lab, name
        self.ready = lab.folder / f"{name}.json"
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("STEWARD_", "DATABASE_", "PG"))}
        self.env = clean | {"STEWARD_LOG__FORMAT": "json", "STEWARD_SERVER__LISTEN": "127.0.0.1:0", "STEWARD_SERVER__MANAGEMENT_LISTEN": "127.0.0.1:0"} | (env or {})
        self.wrapper = list(wrapper)
        self.process = None
        self.start()

    @staticmethod
    def program():
        named = os.environ.get("STEWARD_BIN")
        return pathlib.Path(named) if named else ROOT / "target/debug/steward"

    def start(self):
        self.ready.unlink(missing_ok=True)
        self.process = self.lab.start(self.name, [*self.wrapper, self.program(), "serve", "--ready-file", self.ready], env=self.env)
        wait_for(f"{self.name} ready", lambda: self.ready.exists() or self.process.poll() is not None)
        if not self.ready.exists():
            raise SystemExit(f"{self.name} did not start: {(self.lab.folder / (self.name + '.log')).read_text()[-2000:]}")
        bound = json.loads(self.ready.read_text())
        self.listen, self.management = (tuple(bound[key].rsplit(":", 1)) for key in ("listen", "management"))

    def command(self, *arguments):
        done = subprocess.run([self.program(), *arguments], check=True, capture_output=True, text=True, env=self.env, cwd="/tmp")
        return done.stdout.strip()

    def metric(self, name):
        """The sum of all series of /metrics that begin with `name`."""
        import urllib.request

        text = urllib.request.urlopen(f"http://{':'.join(self.management)}/metrics", timeout=10).read().decode()
        values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name)]
        return sum(values)

    def stop(self):
        os.kill(self.process.pid, signal.SIGTERM)
        return self.process.wait()


class Load:
    """Callers that change accounts, and the answers that they got."""

    def __init__(self, replicas, token, callers=16):
        self.replicas, self.token, self.callers = replicas, token, callers
        self.acknowledged, self.unanswered, self.wrong = {}, [], []
        self.retries, self.longest_gap, self.latest = 0, 0.0, None
        self.shed = 0
        self.doubtful, self.refused, self.keyless = set(), set(), set()
        self.is_over = False
        self.progress = None

    async def more(self, count):
        """Waits until `count` more changes are acknowledged. Fails after a minute."""
        wanted = len(self.acknowledged) + count
        async with asyncio.timeout(60):
            while len(self.acknowledged) < wanted:
                self.progress.clear()
                await self.progress.wait()

    async def request(self, caller, attempt, method, path, key, body, more=""):
        replica = self.replicas[(caller + attempt) % len(self.replicas)]
        host, port = replica.listen
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            head = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {self.token}\r\nconnection: close\r\n"
            head += f"content-type: application/json\r\n{more}x-request-id: {key}\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await reader.read()
        finally:
            writer.close()
        status = int(answer.split(b" ", 2)[1])
        return status, answer.split(b"\r\n\r\n", 1)[1]

    def note_progress(self):
        now = time.monotonic()
        if self.latest is not None:
            self.longest_gap = max(self.longest_gap, now - self.latest)
        self.latest = now
        self.progress.set()

    async def change_once(self, caller, method, path, key, body):
        """Sends a change without a key, once. Whether it was made is unknown if it is not acknowledged."""
        self.keyless.add(key)
        try:
            status, _ = await asyncio.wait_for(self.request(caller, 0, method, path, key, json.dumps(body).encode()), 12)
        except (OSError, asyncio.TimeoutError, IndexError, ValueError):
            return False
        if status < 400:
            self.note_progress()
            return True
        self.shed += status in (429, 503)
        if status not in (429, 500, 502, 503):
            self.wrong.append((key, status, "without a key"))
        return False

    async def change(self, caller, method, path, key, body, expected=None, more=""):
        """Sends a change until the answer is something else than "try again". `expected` is the status of a refusal that is right."""
        body, deadline, attempt = json.dumps(body).encode(), time.monotonic() + RETRY_FOR, 0
        more += f"idempotency-key: {key}\r\n"
        while True:
            try:
                status, answer = await asyncio.wait_for(self.request(caller, attempt, method, path, key, body, more), 12)
                if status == expected:
                    self.refused.add(key)
                    return None
                if status < 400:
                    self.note_progress()
                    return json.loads(answer)
                self.shed += status in (429, 503)
                if status not in (429, 500, 502, 503):
                    self.wrong.append((key, status, answer.decode()[:200]))
                    return None
            except (OSError, asyncio.TimeoutError, IndexError, ValueError):
                pass
            attempt += 1
            self.retries += 1
            if time.monotonic() > deadline:
                self.unanswered.append(key)
                return None
            await asyncio.sleep(min(0.05 * attempt, 0.5))

    async def caller(self, caller, prefix):
        account, number = None, 0
        while not self.is_over:
            key = f"{prefix}-{caller}-{number}"
            if account is None or number % 10 == 0:
                created = await self.change(caller, "POST", "/v3/accounts", key, {"company": key})
                if created:
                    account = created["id"]
                    self.acknowledged[key] = ("create", account, None)
            elif number % 10 == 9:
                # No account has this version.
                body, more = {"expiresAt": "2040-01-01T00:00:00Z"}, 'if-match: "987654321"\r\n'
                await self.change(caller, "PUT", f"/v3/accounts/{account}/expires-at", key, body, expected=412, more=more)
            elif number % 3 == 1:
                # Changes of holds without a key are made with a single statement.
                if await self.change_once(caller, "POST", f"/v3/accounts/{account}/suspend", key, {"reason": key}):
                    self.acknowledged[key] = ("suspend", account, key)
                else:
                    self.doubtful.add(account)
                    account = None
            else:
                at = f"2030-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z"
                if await self.change(caller, "PUT", f"/v3/accounts/{account}/expires-at", key, {"expiresAt": at}):
                    self.acknowledged[key] = ("expires-at", account, at)
                else:
                    self.doubtful.add(account)
            number += 1

    async def during(self, prefix, course):
        """Runs the callers while the coroutine `course` runs."""
        self.latest, self.progress = None, asyncio.Event()
        callers = [asyncio.create_task(self.caller(caller, prefix)) for caller in range(self.callers)]
        try:
            return await course
        finally:
            self.is_over = True
            await asyncio.gather(*callers)
            self.is_over = False

    def judge(self, port):
        """Compares the acknowledged changes with the journal: lost, made twice, made although refused, other values."""
        applied = dict(sql(port, "select request_id, count(*) from journal where outcome = 'applied' group by 1"))
        lost = [key for key in self.acknowledged if applied.get(key) is None]
        twice = [key for key, count in applied.items() if count != "1" and key.split("-")[0].startswith("load")]
        # A request that is sent once has one entry at most, whatever its outcome. And each creation makes one account.
        twice += [key for key, count in sql(port, "select request_id, count(*) from journal group by 1 having count(*) > 1") if key in self.keyless]
        twice += [key for key, count in sql(port, "select profile ->> 'company', count(*) from account group by 1 having count(*) > 1")]
        twice += [f"account {account}" for account, in sql(port, "select id from account a where version <> (select count(*) from journal where account_id = a.id and outcome = 'applied')")]
        twice += [key for key in self.refused if key in applied]
        facts = {
            "expires-at": dict(sql(port, "select uid, to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') from account")),
            "suspend": dict(sql(port, "select a.uid, h ->> 'reason' from account a cross join json_array_elements(a.holds) as h where h ->> 'kind' = 'suspend'")),
        }
        latest = {}
        for kind, account, value in self.acknowledged.values():
            if kind in facts:
                latest[kind, account] = value
        wrong = [account for (kind, account), value in latest.items() if account not in self.doubtful and facts[kind].get(str(account)) != value]
        return lost, twice, wrong

    def report(self, port):
        lost, twice, wrong = self.judge(port)
        kinds = [kind for kind, _, _ in self.acknowledged.values()]
        text = f"{len(kinds)} acknowledged ({kinds.count('suspend')} without a key), {len(self.refused)} refused, "
        text += f"{self.retries} tries repeated ({self.shed} answered 503 or 429), {len(self.unanswered)} given up after {RETRY_FOR:.0f} s, "
        text += f"longest time without an acknowledgement {self.longest_gap:.1f} s; lost {len(lost)}, made twice or although refused {len(twice)}, other than acknowledged {len(wrong)}"
        problems = lost or twice or wrong or self.wrong or not kinds.count("suspend") or not self.refused
        if problems:
            text += f"\n  lost {lost[:3]} twice {twice[:3]} other {wrong[:3]} refused {self.wrong[:3]}"
        return text, not problems
