// Command logcorpus writes lines as the loggers of Go write them, with what a reader is to
// make of them: the first part of collectors/logs' corpus. Run it as
//
//	go run . > ../../collectors/logs/testdata/corpus/first-go.txtar
//
// It is a module of its own: upkeep does not depend on these libraries.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	apex "github.com/apex/log"
	apexjson "github.com/apex/log/handlers/json"
	apexlogfmt "github.com/apex/log/handlers/logfmt"
	apextext "github.com/apex/log/handlers/text"
	charm "github.com/charmbracelet/log"
	gokit "github.com/go-kit/log"
	kitlevel "github.com/go-kit/log/level"
	"github.com/golang/glog"
	"github.com/hashicorp/go-hclog"
	"github.com/inconshreveable/log15/v3"
	"github.com/muesli/termenv"
	"github.com/rs/zerolog"
	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// A shape is one logger with one setting.
type shape struct {
	name string

	// nodebug: what is for debugging is at the level of information.
	nodebug bool

	// frame is how the template of a message is found in the logger's: %s is the message.
	// A logger with fields has the message alone.
	frame string

	// write writes a message at a level: debug, info, warning or error.
	write func(w io.Writer, level, message string)
}

const (
	broken   = "cannot load order 4711 from 10.0.0.7:5432"
	template = "cannot load order <n> from <address>"
	harmless = "retry worked after ERROR from peer"
)

func main() {
	fmt.Println("Lines of Go's loggers, written by tools/logcorpus. The character ␛ is escape.")
	for _, s := range shapes() {
		for _, c := range []struct{ level, message string }{{"error", broken}, {"info", harmless}, {"warning",
			broken},
			{"debug", harmless}} {
			if c.level == "debug" && s.nodebug {
				continue
			}
			var b bytes.Buffer
			s.write(&b, c.level, c.message)
			if b.Len() == 0 {
				panic(s.name + " wrote nothing at " + c.level)
			}
			fmt.Printf("-- %s, %s --\nlevel %s\n", s.name, c.level, c.level)
			if c.level == "error" {
				fmt.Printf("template "+s.frame+"\n", template)
			}
			fmt.Printf("\n%s", strings.ReplaceAll(b.String(), "\x1b", "␛"))
		}
	}
	for _, s := range requests() {
		var b bytes.Buffer
		s.write(&b, "", "")
		fmt.Printf("-- %s --\n%s\n\n%s", s.name, s.frame, strings.ReplaceAll(b.String(), "\x1b", "␛"))
	}
}

func shapes() []shape {
	return append([]shape{
		{"slog, text", false, "%s", func(w io.Writer, level, message string) {
			slogAt(slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})), level, message)
		}},
		{"slog, JSON", false, "%s", func(w io.Writer, level, message string) {
			slogAt(slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug,
				AddSource: false})), level,
				message)
		}},
		{"slog, JSON with a level of its own", false, "%s", func(w io.Writer, level, message string) {
			l := map[string]slog.Level{"debug": -3, "info": 1, "warning": 5, "error": 12}[level]
			slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})).Log(nil, l, message,
				"attempt", 3) //nolint:staticcheck // no context is needed
		}},
		{"zap, production", false, "%s", func(w io.Writer, level, message string) {
			zapAt(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), w, level, message)
		}},
		{"zap, console of production", false, "<n> error orders/load.go:<n> %s {\"attempt\": <n>}",
			func(w io.Writer, level, message string) {
				zapAt(zapcore.NewConsoleEncoder(zap.NewProductionEncoderConfig()), w, level, message)
			}},
		{"zap, development", false, "<time> ERROR orders/load.go:<n> %s {\"attempt\": <n>}",
			func(w io.Writer, level, message string) {
				zapAt(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), w, level, message)
			}},
		{"zap, development in colour", false, "<time> ERROR orders/load.go:<n> %s {\"attempt\": <n>}",
			func(w io.Writer, level, message string) {
				c := zap.NewDevelopmentEncoderConfig()
				c.EncodeLevel = zapcore.CapitalColorLevelEncoder
				zapAt(zapcore.NewConsoleEncoder(c), w, level, message)
			}},
		{"zerolog, JSON", false, "%s", func(w io.Writer, level, message string) { zerologAt(w, level, message) }},
		{"zerolog, console", false, "<time> ERR %s attempt=<n>", func(w io.Writer, level, message string) {
			zerologAt(zerolog.ConsoleWriter{Out: w, NoColor: true, TimeFormat: time.RFC3339}, level, message)
		}},
		{"zerolog, console in colour", false, "<time> ERR %s attempt=<n>", func(w io.Writer, level, message string) {
			zerologAt(zerolog.ConsoleWriter{Out: w, TimeFormat: time.RFC3339}, level, message)
		}},
		{"logrus, text", false, "%s", func(w io.Writer, level, message string) {
			logrusAt(&logrus.TextFormatter{DisableColors: true}, w, level, message)
		}},
		{"logrus, text in colour", false, "ERRO[<n>] %s attempt=<n>", func(w io.Writer, level, message string) {
			logrusAt(&logrus.TextFormatter{ForceColors: true}, w, level, message)
		}},
		{"logrus, JSON", false, "%s", func(w io.Writer, level, message string) {
			logrusAt(&logrus.JSONFormatter{}, w, level, message)
		}},
	}, more()...)
}

func more() []shape {
	return []shape{
		{"hclog, text", false, "<time> [ERROR] orders: %s: attempt=<n>", func(w io.Writer, level, message string) {
			hclogAt(&hclog.LoggerOptions{Name: "orders", Output: w, Level: hclog.Trace}, level, message)
		}},
		{"hclog, JSON", false, "%s", func(w io.Writer, level, message string) {
			hclogAt(&hclog.LoggerOptions{Name: "orders", Output: w, Level: hclog.Trace, JSONFormat: true},
				level, message)
		}},
		{"charmbracelet/log, text", false, "<n>/<n>/<n> <time> ERRO %s attempt=<n>", func(w io.Writer, level,
			message string) {
			charmAt(charm.NewWithOptions(w, charm.Options{ReportTimestamp: true, Level: charm.DebugLevel}),
				level, message)
		}},
		{"charmbracelet/log, text in colour", false, "<n>/<n>/<n> <time> ERRO %s attempt=<n>", func(w io.Writer,
			level, message string) {
			l := charm.NewWithOptions(w, charm.Options{ReportTimestamp: true, Level: charm.DebugLevel})
			l.SetColorProfile(termenv.ANSI256)
			charmAt(l, level, message)
		}},
		{"charmbracelet/log, logfmt", false, "%s", func(w io.Writer, level, message string) {
			charmAt(charm.NewWithOptions(w, charm.Options{ReportTimestamp: true, Level: charm.DebugLevel,
				Formatter: charm.LogfmtFormatter}), level, message)
		}},
		{"charmbracelet/log, JSON", false, "%s", func(w io.Writer, level, message string) {
			charmAt(charm.NewWithOptions(w, charm.Options{ReportTimestamp: true, Level: charm.DebugLevel,
				Formatter: charm.JSONFormatter}), level, message)
		}},
		{"log15, logfmt", false, "%s", func(w io.Writer, level, message string) {
			log15At(log15.LogfmtFormat(),
				w, level, message)
		}},
		{"log15, terminal", false, "EROR[<n>|<time>] %s attempt=<n>", func(w io.Writer, level, message string) {
			log15At(log15.TerminalFormat(), w, level, message)
		}},
		{"log15, JSON", false, "%s", func(w io.Writer, level, message string) {
			log15At(log15.JsonFormat(), w,
				level, message)
		}},
		{"go-kit/log, logfmt", false, "%s", func(w io.Writer, level, message string) {
			kitAt(gokit.NewLogfmtLogger(w), level, message)
		}},
		{"go-kit/log, JSON", false, "%s", func(w io.Writer, level,
			message string) {
			kitAt(gokit.NewJSONLogger(w), level, message)
		}},
		{"apex/log, JSON", false, "%s", func(w io.Writer, level, message string) {
			apexAt(apexjson.New(w),
				level, message)
		}},
		{"apex/log, logfmt", false, "%s", func(w io.Writer, level, message string) {
			apexAt(apexlogfmt.New(w),
				level, message)
		}},
		{"apex/log, text", false, "ERROR[<n>] %s attempt=<n>", func(w io.Writer, level, message string) {
			apexAt(apextext.New(w), level, message)
		}},
		{"klog", true, "%s", func(w io.Writer, level, message string) {
			var flags flag.FlagSet
			klog.InitFlags(&flags)
			_ = flags.Parse([]string{"-logtostderr=false", "-alsologtostderr=false", "-stderrthreshold=FATAL", "-v=4",
				"-one_output=true"})
			klog.SetOutput(w)
			switch level {
			case "error":
				klog.Error(message)
			case "warning":
				klog.Warning(message)
			default:
				klog.Info(message) // klog has no debug: V(4).Info is I
			}
			klog.Flush()
		}},
		{"klog, structured", true, "\"%s\" err=\"timeout\" attempt=<n>", func(w io.Writer, level, message string) {
			klog.SetOutput(w)
			switch level {
			case "error":
				klog.ErrorS(fmt.Errorf("timeout"), message, "attempt", 3)
			case "warning":
				klog.Warning(message)
			default:
				klog.InfoS(message, "attempt", 3)
			}
			klog.Flush()
		}},
		{"glog", true, "%s", glogAt},
	}
}

// requests are lines about a request. The frame is what is expected of them.
func requests() []shape {
	const path = "/api/users/42?page=1"
	const slow = 1234500 * time.Microsecond
	return []shape{
		{"slog, JSON with a group", false, "level info\nfields path=http.path duration=http.duration unit=ns\n" +
			"endpoint /api/users/:id\nduration 1234.5ms", func(w io.Writer, _, _ string) {
			slog.New(slog.NewJSONHandler(w, nil)).Info("done", slog.Group("http", "method", "GET", "path", path,
				"duration",
				slow))
		}},
		{"slog, text with a group", false, "level info\nfields path=http.path duration=http.duration\n" +
			"endpoint /api/users/:id\nduration 1234.5ms", func(w io.Writer, _, _ string) {
			slog.New(slog.NewTextHandler(w, nil)).Info("done", slog.Group("http", "path", path, "duration", slow))
		}},
		{"zap, duration in seconds", false,
			"level info\nfields duration=elapsed unit=s\nendpoint /api/users/:id\nduration 1234.5ms",
			func(w io.Writer, _, _ string) {
				zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(w),
					zap.DebugLevel)).Info("done", zap.String("path", path), zap.Duration("elapsed", slow))
			}},
		{"zap, duration as text", false,
			"level info\nfields duration=elapsed\nendpoint /api/users/:id\nduration 1234.5ms",
			func(w io.Writer, _, _ string) {
				c := zap.NewProductionEncoderConfig()
				c.EncodeDuration = zapcore.StringDurationEncoder
				zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(c), zapcore.AddSync(w), zap.DebugLevel)).Info("done",
					zap.String("path", path), zap.Duration("elapsed", slow))
			}},
		{"zerolog, duration in milliseconds", false,
			"level info\nfields duration=elapsed\nendpoint /api/users/:id\nduration 1234.5ms",
			func(w io.Writer, _, _ string) {
				l := zerolog.New(w)
				l.Info().Str("path", path).Dur("elapsed", slow).Msg("done")
			}},
		{"logrus, JSON with a name that has its unit", false, "level info\nfields path=url duration=took_seconds\n" +
			"endpoint /api/users/:id\nduration 1234.5ms", func(w io.Writer, _, _ string) {
			l := logrus.New()
			l.SetOutput(w)
			l.SetFormatter(&logrus.JSONFormatter{})
			l.WithFields(logrus.Fields{"url": path, "took_seconds": slow.Seconds()}).Info("done")
		}},
		{"go-kit/log, logfmt of a request", false,
			"level info\nfields duration=took\nendpoint /api/users/:id\nduration 1234.5ms",
			func(w io.Writer, _, _ string) {
				_ = kitlevel.Info(gokit.NewLogfmtLogger(w)).Log("msg", "done", "path", path, "took", slow)
			}},
	}
}

func slogAt(l *slog.Logger, level, message string) {
	switch level {
	case "error":
		l.Error(message, "attempt", 3)
	case "warning":
		l.Warn(message, "attempt", 3)
	case "info":
		l.Info(message, "attempt", 3)
	default:
		l.Debug(message, "attempt", 3)
	}
}

func zapAt(e zapcore.Encoder, w io.Writer, level, message string) {
	l := map[string]zapcore.Level{"error": zap.ErrorLevel, "warning": zap.WarnLevel, "info": zap.InfoLevel,
		"debug": zap.DebugLevel}[level]
	core := zapcore.NewCore(e, zapcore.AddSync(w), zap.DebugLevel)
	entry := zapcore.Entry{Level: l, Time: time.Now(), Message: message, Caller: zapcore.EntryCaller{Defined: true,
		File: "/src/orders/load.go", Line: 42}}
	_ = core.Write(entry, []zapcore.Field{zap.Int("attempt", 3)})
}

func zerologAt(w io.Writer, level, message string) {
	l := zerolog.New(w).With().Timestamp().Logger()
	at := map[string]zerolog.Level{"error": zerolog.ErrorLevel, "warning": zerolog.WarnLevel,
		"info":  zerolog.InfoLevel,
		"debug": zerolog.DebugLevel}[level]
	l.WithLevel(at).Int("attempt", 3).Msg(message)
}

func logrusAt(f logrus.Formatter, w io.Writer, level, message string) {
	l := logrus.New()
	l.SetOutput(w)
	l.SetFormatter(f)
	l.SetLevel(logrus.TraceLevel)
	at, err := logrus.ParseLevel(level)
	if err != nil {
		panic(err)
	}
	l.WithField("attempt", 3).Log(at, message)
}

func hclogAt(o *hclog.LoggerOptions, level, message string) {
	at := map[string]hclog.Level{"error": hclog.Error, "warning": hclog.Warn, "info": hclog.Info,
		"debug": hclog.Debug}
	hclog.New(o).Log(at[level], message, "attempt", 3)
}

func charmAt(l *charm.Logger, level, message string) {
	at := map[string]charm.Level{"error": charm.ErrorLevel, "warning": charm.WarnLevel, "info": charm.InfoLevel,
		"debug": charm.DebugLevel}
	l.Log(at[level], message, "attempt", 3)
}

func log15At(f log15.Format, w io.Writer, level, message string) {
	l := log15.New()
	l.SetHandler(log15.StreamHandler(w, f))
	switch level {
	case "error":
		l.Error(message, "attempt", 3)
	case "warning":
		l.Warn(message, "attempt", 3)
	case "info":
		l.Info(message, "attempt", 3)
	default:
		l.Debug(message, "attempt", 3)
	}
}

func kitAt(l gokit.Logger, level, message string) {
	l = gokit.With(l, "ts", gokit.DefaultTimestampUTC)
	at := map[string]func(gokit.Logger) gokit.Logger{"error": kitlevel.Error, "warning": kitlevel.Warn,
		"info": kitlevel.Info, "debug": kitlevel.Debug}[level]
	_ = at(l).Log("msg", message, "attempt", 3)
}

func apexAt(h apex.Handler, level, message string) {
	l := &apex.Logger{Handler: h, Level: apex.DebugLevel}
	e := l.WithField("attempt", 3)
	switch level {
	case "error":
		e.Error(message)
	case "warning":
		e.Warn(message)
	case "info":
		e.Info(message)
	default:
		e.Debug(message)
	}
}

// glogAt catches what glog writes to the standard error.
func glogAt(w io.Writer, level, message string) {
	_ = flag.Set("logtostderr", "true")
	r, pipe, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	before := os.Stderr
	os.Stderr = pipe
	switch level {
	case "error":
		glog.Error(message)
	case "warning":
		glog.Warning(message)
	default:
		glog.Info(message)
	}
	glog.Flush()
	os.Stderr = before
	_ = pipe.Close()
	_, _ = io.Copy(w, r)
}
