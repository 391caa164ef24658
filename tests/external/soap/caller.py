"""A client of clients/ as a process that makes one call for each line."""
import json
import subprocess


def _read(text):
    return text.replace("\\\\", "\0").replace("\\n", "\n").replace("\\t", "\t").replace("\0", "\\")


def _written(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


class Caller:
    def __init__(self, command, wsdl, version, endpoint):
        program, *more = command
        arguments = [*program, wsdl, version, endpoint, *more]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def call(self, operation, **members):
        pairs = [f"{name}={_written(str(value))}" for name, value in members.items()]
        self.process.stdin.write("\t".join([operation, *pairs]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended before it answered {operation}")
        return {name: _read(value) for name, value in (pair.split("=", 1) for pair in line.rstrip("\n").split("\t"))}

    def info(self, operation, **members):
        """The document in the message."""
        answer = self.call(operation, **members)
        return json.loads(answer["Message"]) if answer.get("Code") == "Success" else answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def clients(work, here):
    """The command and the SOAP versions of each client. A command is the program, and arguments after the usual ones."""
    php = ["php", f"{here}/clients/php_client.php"]
    return {
        "zeep": ([[f"{work}/venv/bin/python", f"{here}/clients/zeep_client.py"]], ["1.1", "1.2"]),
        "node-soap": ([["node", f"{work}/node/node_client.mjs"]], ["1.1", "1.2"]),
        "PHP": ([php], ["1.1", "1.2"]),
        "PHP Latin-1": ([php, "ISO-8859-1"], ["1.1"]),
        "SOAP::Lite": ([["perl", f"{here}/clients/soap_lite_client.pl"]], ["1.1", "1.2"]),
        "gSOAP": ([[f"{work}/gsoap/gsoap_client"]], ["1.1", "1.2"]),
    }
