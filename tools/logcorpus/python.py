"""Writes lines as the loggers of Python write them. Debian has the packages:
python3-structlog python3-loguru python3-pythonjsonlogger python3-werkzeug python3-uvicorn

    python3 python.py > first-python.txtar
"""
import io
import json
import logging
import os
import subprocess
import sys
import tempfile

BROKEN = "cannot load order 4711 from 10.0.0.7:5432"
TEMPLATE = "cannot load order <n> from <address>"
HARMLESS = "retry worked after ERROR from peer"
CASES = [("error", BROKEN), ("info", HARMLESS), ("warning", BROKEN), ("debug", HARMLESS)]
out = []


def member(name, head, lines):
    lines = lines.replace("\x1b", "␛").rstrip("\n") + "\n"
    out.append("-- %s --\n%s\n\n%s" % (name, "\n".join(head), lines))


def shape(name, frame, write):
    for level, message in CASES:
        to = io.StringIO()
        write(to, level, message)
        head = ["level " + level]
        if level == "error":
            head.append("template " + frame.replace("%s", TEMPLATE))
        member("%s, %s" % (name, level), head, to.getvalue())


def standard(formatter):
    def write(to, level, message):
        handler = logging.StreamHandler(to)
        handler.setFormatter(formatter)
        logger = logging.Logger("orders", logging.DEBUG)
        logger.addHandler(handler)
        getattr(logger, level)(message)
    return write


shape("Python logging, basicConfig", "ERROR:orders:%s", standard(logging.Formatter(logging.BASIC_FORMAT)))
shape("Python logging, with the time", "<time> <time>,<n> - orders - ERROR - %s",
      standard(logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s")))
shape("Python logging, level first", "ERROR <time> <time>,<n> python <n> <n> %s",
      standard(logging.Formatter("%(levelname)s %(asctime)s %(module)s %(process)d %(thread)d %(message)s")))

from pythonjsonlogger import jsonlogger
shape("python-json-logger", "%s", standard(jsonlogger.JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s")))
shape("python-json-logger, numbers", "%s", standard(jsonlogger.JsonFormatter("%(asctime)s %(levelno)s %(message)s")))

import structlog


def structured(renderer):
    def write(to, level, message):
        structlog.configure(processors=[structlog.processors.add_log_level,
                                        structlog.processors.TimeStamper(fmt="iso"), renderer],
                            logger_factory=structlog.PrintLoggerFactory(to), cache_logger_on_first_use=False)
        getattr(structlog.get_logger(), level)(message, attempt=3)
    return write


shape("structlog, JSON", "%s", structured(structlog.processors.JSONRenderer()))
shape("structlog, console", "<time> [error ] %s attempt=<n>", structured(structlog.dev.ConsoleRenderer(colors=False)))
shape("structlog, console in colour", "<time> [error ] %s attempt=<n>",
      structured(structlog.dev.ConsoleRenderer(colors=True)))
shape("structlog, logfmt", "%s", structured(structlog.processors.LogfmtRenderer(key_order=["timestamp", "level"])))

from loguru import logger as loguru


def loguruAt(**settings):
    def write(to, level, message):
        loguru.remove()
        loguru.add(to, level="TRACE", **settings)
        getattr(loguru, level)(message)
    return write


shape("loguru", "<time> <time> | ERROR | __main__:write:<n> - %s", loguruAt(colorize=False))
shape("loguru, in colour", "<time> <time> | ERROR | __main__:write:<n> - %s", loguruAt(colorize=True))

SCRIPTS = [
    ("uncaught", "error", "ValueError at app/x.py:2",
     "def load(order):\n    raise ValueError('bad order %d' % order)\nload(4711)\n"),
    ("uncaught in a chain", "error", "RuntimeError at app/x.py:4",
     "try:\n    {}['order']\nexcept KeyError as e:\n    raise RuntimeError('cannot load') from e\n"),
    ("uncaught while another is handled", "error", "ZeroDivisionError at app/x.py:4",
     "try:\n    {}['order']\nexcept KeyError:\n    1 / 0\n"),
    ("in a thread", "error", "OSError at app/x.py:3",
     "import threading\ndef load():\n    raise OSError('gone')\nt = threading.Thread(target=load)\nt.start()\nt.join()\n"),
    ("in a library", "error", "json.decoder.JSONDecodeError at app/x.py:2", "import json\njson.loads('{')\n"),
    ("syntax error", "error", "SyntaxError at app/x.py:1", "def load(:\n    pass\n"),
    ("type without a message", "error", "KeyboardInterrupt at app/x.py:1", "raise KeyboardInterrupt\n"),
    ("group", "error", "ExceptionGroup at app/x.py:1", "raise ExceptionGroup('two', [ValueError('a'), OSError('b')])\n"),
    ("task that failed", "error", "ValueError at app/x.py:3",
     "import asyncio\nasync def load():\n    raise ValueError('bad')\nasync def main():\n    t = asyncio.create_task(load())\n"
     "    await asyncio.sleep(0.1)\n    del t\nasyncio.run(main())\n"),
    ("logger.exception", "error", "ERROR:root:cannot load",
     "import logging\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.exception('cannot load')\n"),
    ("a warning with its traceback", "warning", "",
     "import logging\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.warning('again', exc_info=True)\n"),
    ("warnings", "none", "", "import warnings\nwarnings.warn('old name')\n"),
    ("two errors", "error", "ERROR:root:first\ntemplate ERROR:root:second",
     "import logging\nlogging.error('first')\nlogging.error('second')\n"),
]
for name, level, template, script in SCRIPTS:
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(folder + "/app")
        with open(folder + "/app/x.py", "w") as f:
            f.write(script)
        ran = subprocess.run([sys.executable, folder + "/app/x.py"], capture_output=True, text=True, env={})
    head = ["level " + level] + (["template " + template] if template else [])
    text = ran.stderr.replace(folder, "/srv").replace(sys.base_prefix, "/usr")
    member("Python, " + name, head, text)

sys.stdout.write("Lines of Python and its loggers, written by tools/logcorpus/python.py. The character ␛ is escape.\n" +
                 "".join(out))
