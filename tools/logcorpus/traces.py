"""Writes what ends a process in Go, Java, Rust, Ruby and PHP, and lines of Java's loggers.

    CLASSPATH=/usr/share/java/… python3 traces.py > first-traces.txtar

The compilers and interpreters are those of the path. Debian has the loggers:
liblogback-java liblog4j2-java.
"""
import os
import subprocess
import sys
import tempfile

out = []
BROKEN = "cannot load order 4711 from 10.0.0.7:5432"
TEMPLATE = "cannot load order <n> from <address>"
HARMLESS = "retry worked after ERROR from peer"


def member(name, head, lines):
    out.append("-- %s --\n%s\n\n%s" % (name, "\n".join(head), lines.replace("\x1b", "␛").rstrip("\n") + "\n"))


def run(name, file, source, template, build, command, level="error", extra=None):
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(folder + "/app")
        with open(folder + "/app/" + file, "w") as f:
            f.write(source)
        for path, text in (extra or {}).items():
            with open(folder + "/app/" + path, "w") as f:
                f.write(text)
        where = folder + "/app"
        if build:
            subprocess.run([a.replace("@", where) for a in build], check=True, cwd=where)
        ran = subprocess.run([a.replace("@", where) for a in command], capture_output=True, text=True, cwd=where)
        head = ["level " + level] + ["template " + t for t in template]
        member(name, head, (ran.stderr + ran.stdout).replace(folder, "/srv"))


GO = "package main\n\nimport (\n\t\"errors\"\n\t\"fmt\"\n\t\"os\"\n)\n\nfunc main() {\n\tfmt.Fprint(os.Stderr, \"\")\n%s}\n\nvar err = errors.New(\"order 4711 is gone\")\n"
GOMOD = {"go.mod": "module app\n\ngo 1.24\n"}
build, command = ["go", "build", "-o", "@/x", "."], ["@/x"]
run("Go, index out of range", "main.go", GO % "\tvar a []int\n\tfmt.Println(a[len(os.Args)+4])\n",
    ["panic: runtime error: index out of range [<n>] with length <n> at app/main.go:12"], build, command, extra=GOMOD)
run("Go, nil pointer", "main.go", GO % "\tvar p *os.LinkError\n\tfmt.Println(p.Op)\n",
    ["panic: runtime error: invalid memory address or nil pointer dereference at app/main.go:12"], build, command, extra=GOMOD)
run("Go, panic with an error", "main.go", GO % "\tpanic(err)\n",
    ["panic: order <n> is gone at app/main.go:11"], build, command, extra=GOMOD)
run("Go, panic in a goroutine", "main.go", GO % "\tgo func() { panic(\"bad order 4711\") }()\n\tselect {}\n",
    ["panic: bad order <n> at app/main.go:11"], build, command, extra=GOMOD)
run("Go, panic while another one is handled", "main.go",
    GO % "\tdefer func() { panic(fmt.Sprint(\"again: \", recover())) }()\n\tpanic(err)\n",
    ["panic: order <n> is gone [recovered] at app/main.go:11"], build, command, extra=GOMOD)
run("Go, all goroutines are asleep", "main.go", GO % "\tselect {}\n",
    ["fatal error: all goroutines are asleep - deadlock! at app/main.go:11"], build, command, extra=GOMOD)
run("Go, concurrent map writes", "main.go",
    GO % "\tm := map[int]int{}\n\tfor i := range 8 {\n\t\tgo func() {\n\t\t\tfor {\n\t\t\t\tm[i]++\n\t\t\t}\n\t\t}()\n\t}\n\tselect {}\n",
    ["fatal error: concurrent map writes at app/main.go:15"], build, command, extra=GOMOD)

JAVA = """import java.util.*;
public class Orders {
  static void load(int n) { %s }
  public static void main(String[] a) throws Exception {
    %s
  }
}
"""
build, command = ["javac", "-d", "@", "@/Orders.java"], ["java", "-cp", "@:" + os.environ["CLASSPATH"], "Orders"]
run("Java, uncaught", "Orders.java", JAVA % ('throw new IllegalStateException("bad order " + n);', "load(4711);"),
    ["java.lang.IllegalStateException at Orders.java:3"], build, command)
run("Java, uncaught with a cause", "Orders.java",
    JAVA % ('try { Integer.parseInt("x" + n); } catch (NumberFormatException e) { throw new RuntimeException("cannot load", e); }',
            "load(4711);"), ["java.lang.NumberFormatException at Orders.java:3"], build, command)
run("Java, printStackTrace", "Orders.java",
    JAVA % ('throw new IllegalArgumentException("bad order " + n);', "try { load(1); } catch (Exception e) { e.printStackTrace(); }"),
    ["java.lang.IllegalArgumentException at Orders.java:3"], build, command)
run("Java, suppressed", "Orders.java",
    JAVA % ('Exception e = new Exception("outer"); e.addSuppressed(new java.io.IOException("close")); e.printStackTrace();',
            "load(1);"), ["java.lang.Exception at Orders.java:3"], build, command)
run("Java, stack overflow", "Orders.java", JAVA % ("load(n + 1);", "load(1);"),
    ["java.lang.StackOverflowError at Orders.java:3"], build, command)
JUL = "java.util.logging.Logger l = java.util.logging.Logger.getLogger(\"orders\");"
for level, call, text in (("error", "severe", BROKEN), ("info", "info", HARMLESS), ("warning", "warning", BROKEN)):
    run("java.util.logging, " + level, "Orders.java", JAVA % ("", JUL + ' l.%s("%s");' % (call, text)),
        ["SEVERE: " + TEMPLATE] if level == "error" else [], build, command, level)
run("java.util.logging, with an exception", "Orders.java",
    JAVA % ("", JUL + ' l.log(java.util.logging.Level.SEVERE, "cannot load", new java.io.IOException("gone"));'),
    ["SEVERE: cannot load"], build, command)
BACK = "org.slf4j.Logger l = org.slf4j.LoggerFactory.getLogger(\"orders\");"
for level, call, text in (("error", "error", BROKEN), ("info", "info", HARMLESS), ("warning", "warn", BROKEN),
                          ("debug", "debug", HARMLESS)):
    run("logback, " + level, "Orders.java", JAVA % ("", BACK + ' l.%s("%s");' % (call, text)),
        ["<time> [main] ERROR orders - " + TEMPLATE] if level == "error" else [], build, command, level)
run("logback, with an exception", "Orders.java",
    JAVA % ("", BACK + ' l.error("cannot load", new RuntimeException("x", new java.io.IOException("gone")));'),
    ["<time> [main] ERROR orders - cannot load"], build, command)
run("logback, a warning with an exception", "Orders.java",
    JAVA % ("", BACK + ' l.warn("again", new java.io.IOException("gone"));'), [], build, command, "warning")
LOG4J = "org.apache.logging.log4j.Logger l = org.apache.logging.log4j.LogManager.getLogger(\"orders\");"
CONFIG = """<Configuration><Appenders><Console name="o">%s</Console></Appenders>
<Loggers><Root level="trace"><AppenderRef ref="o"/></Root></Loggers></Configuration>"""
for layout, pattern, frame in (
        ("pattern", '<PatternLayout pattern="%d{ISO8601} %-5p [%t] %c{1}:%L - %m%n"/>',
         "<time>,<n> ERROR [main] orders:<n> - %s"),
        ("pattern with pipes", '<PatternLayout pattern="%d|%p|%c|%m%n"/>', "<time> <time>,<n>|ERROR|orders|%s")):
    for level, call, text in (("error", "error", BROKEN), ("error", "fatal", BROKEN), ("info", "info", HARMLESS),
                              ("warning", "warn", BROKEN), ("debug", "trace", HARMLESS)):
        run("log4j, %s, %s" % (layout, call), "Orders.java", JAVA % ("", LOG4J + ' l.%s("%s");' % (call, text)),
            [frame.replace("ERROR", call.upper()) % TEMPLATE] if level == "error" else [], build,
            ["java", "-Dlog4j2.configurationFile=@/c.xml"] + command[1:], level, {"c.xml": CONFIG % pattern})

build, command = ["rustc", "-g", "-o", "@/x", "@/main.rs"], ["@/x"]
run("Rust, panic", "main.rs", 'fn main() {\n    let n = 4711;\n    panic!("bad order {}", n);\n}\n',
    ["panic at app/main.rs:3"], build, command)
run("Rust, unwrap", "main.rs", 'fn main() {\n    let n: Result<i32, _> = "x".parse::<i32>();\n    n.unwrap();\n}\n',
    ["panic at app/main.rs:3"], build, command)
run("Rust, assertion", "main.rs", 'fn main() {\n    assert_eq!(1 + 1, 3, "order");\n}\n',
    ["panic at app/main.rs:2"], build, command)
run("Rust, in a thread with a backtrace", "main.rs",
    'use std::thread;\nfn main() {\n    let _ = thread::Builder::new().name("load".into()).spawn(|| {\n        panic!("bad")\n    }).unwrap().join();\n}\n',
    ["panic at app/main.rs:4"], build, ["env", "RUST_BACKTRACE=1", "@/x"])

ruby, php = os.environ.get("RUBY", "ruby"), os.environ.get("PHP", "php")
run("Ruby, uncaught", "x.rb", "def load(n)\n  raise \"bad order #{n}\"\nend\nload(4711)\n", ["RuntimeError at app/x.rb:2"], None,
    [ruby, "@/x.rb"])
run("Ruby, of a type within another", "x.rb", "module Shop\n  class Gone < StandardError; end\nend\nraise Shop::Gone, 'x'\n",
    ["Shop::Gone at app/x.rb:4"], None, [ruby, "@/x.rb"])
run("Ruby, with a cause", "x.rb", "begin\n  Integer('x')\nrescue => e\n  raise ArgumentError, 'outer'\nend\n",
    ["ArgumentError at app/x.rb:4"], None, [ruby, "@/x.rb"])
run("PHP, uncaught", "x.php", "<?php\nfunction load($n) {\n  throw new RuntimeException(\"bad order $n\");\n}\nload(4711);\n",
    ["RuntimeException at app/x.php:3"], None, [php, "-n", "-d", "display_errors=0", "-d", "log_errors=1", "@/x.php"])
run("PHP, error", "x.php", "<?php\nload();\n", ["Error at app/x.php:2"], None,
    [php, "-n", "-d", "display_errors=0", "-d", "log_errors=1", "@/x.php"])
run("PHP, memory", "x.php", "<?php\nini_set('memory_limit', '4M');\nstr_repeat('x', 9000000);\n",
    ["Fatal error at app/x.php:3"], None, [php, "-n", "-d", "display_errors=0", "-d", "log_errors=1", "@/x.php"])
run("PHP, shown", "x.php", "<?php\nthrow new LogicException('bad');\n", ["LogicException at app/x.php:2"], None,
    [php, "-n", "-d", "display_errors=1", "-d", "html_errors=0", "@/x.php"])
run("PHP, warning", "x.php", "<?php\necho $x;\necho 'ok';\n", [], None,
    [php, "-n", "-d", "display_errors=0", "-d", "log_errors=1", "@/x.php"], "warning")

sys.stdout.write("What ends a process, and Java's loggers, written by tools/logcorpus/traces.py.\n" + "".join(out))
