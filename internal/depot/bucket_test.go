package depot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/sandbox"
	"github.com/ai-micro-service/upkeep/internal/servertest"
)

func text(s string) func() (string, error) { return func() (string, error) { return s, nil } }

// of returns the server's bucket, with short pauses.
func of(t *testing.T, server *sandbox.S3, change func(*BucketConfig)) *bucket {
	t.Helper()
	c := BucketConfig{Endpoint: server.Endpoint, Region: server.Region, Bucket: server.Bucket, Prefix: "p/", ID: text(server.ID), Secret: text(server.Secret)}
	if change != nil {
		change(&c)
	}
	s, err := Bucket(c)
	if err != nil {
		t.Fatal(err)
	}
	b := s.(*bucket)
	b.pause = time.Millisecond
	return b
}

// What a store answers to a wrong setting is told with what to do about it, and
// without the secret.
func TestBucketSaysWhatToDo(t *testing.T) {
	server := servertest.S3(t)
	for name, c := range map[string]struct {
		change func(*BucketConfig)
		clock  time.Duration
		want   string
	}{
		"another secret": {change: func(c *BucketConfig) { c.Secret = text("Zx-very-secret-81") }, want: "the secret of the key is another"},
		"another key":    {change: func(c *BucketConfig) { c.ID = text("nobody") }, want: "does not know the key's id"},
		"no such bucket": {change: func(c *BucketConfig) { c.Bucket = "elsewhere" }, want: `there is no bucket "elsewhere"`},
		"another region": {change: func(c *BucketConfig) { c.Region = "us-west-9" }, want: "region"},
		"a clock ahead":  {clock: time.Hour, want: "1h0m0s away from that of the store: set it"},
		"a clock behind": {clock: -26 * time.Hour, want: "away from that of the store: set it"},
		"nobody listens": {change: func(c *BucketConfig) { c.Endpoint = "http://127.0.0.1:1" }, want: "connection refused"},
		"a key not to read": {change: func(c *BucketConfig) {
			c.Secret = func() (string, error) { return "", errors.New("secret: /x is empty") }
		}, want: "/x is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			b := of(t, server, c.change)
			b.now = func() time.Time { return time.Now().Add(c.clock) }
			_, getErr := b.Get(t.Context(), "a")
			_, listErr := b.List(t.Context(), "")
			for what, err := range map[string]error{"Put": b.Put(t.Context(), "a", []byte("x")), "Get": getErr, "List": listErr} {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v, want one that says %q", what, err, c.want)
				}
				secret, _ := b.Secret()
				if err != nil && secret != "" && strings.Contains(err.Error(), secret) {
					t.Errorf("%s: the secret is in the error: %v", what, err)
				}
				if errors.Is(err, ErrMissing) {
					t.Errorf("%s: %v is taken for a missing object", what, err)
				}
			}
		})
	}
}

// between stands between us and a store and does to requests what networks do. It
// passes the Host on that was signed.
func between(t *testing.T, server *sandbox.S3, do func(pass http.Handler, w http.ResponseWriter, r *http.Request)) *bucket {
	t.Helper()
	to, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { do(pass, w, r) }))
	t.Cleanup(proxy.Close)
	return of(t, server, func(c *BucketConfig) { c.Endpoint = proxy.URL })
}

// What passes is gone through; what has been done though its answer was lost is
// found done.
func TestBucketTriesAgain(t *testing.T) {
	server := servertest.S3(t)
	content := bytes.Repeat([]byte("rows"), 10_000)
	for name, trouble := range map[string]func(n int32, pass http.Handler, w http.ResponseWriter, r *http.Request){
		"500 three times": func(n int32, pass http.Handler, w http.ResponseWriter, r *http.Request) {
			if n <= 3 {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			pass.ServeHTTP(w, r)
		},
		"slow down": func(n int32, pass http.Handler, w http.ResponseWriter, r *http.Request) {
			if n <= 2 {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = io.WriteString(w, "<Error><Code>SlowDown</Code></Error>")
				return
			}
			pass.ServeHTTP(w, r)
		},
		"the connection breaks before": func(n int32, pass http.Handler, w http.ResponseWriter, r *http.Request) {
			if n <= 2 {
				panic(http.ErrAbortHandler)
			}
			pass.ServeHTTP(w, r)
		},
		"the answer is lost": func(n int32, pass http.Handler, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				pass.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
			pass.ServeHTTP(w, r)
		},
		"no conditions known": func(_ int32, pass http.Handler, w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotImplemented)
				return
			}
			pass.ServeHTTP(w, r)
		},
		"no checksums told": func(_ int32, pass http.Handler, w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			pass.ServeHTTP(rec, r)
			for k, v := range rec.Header() {
				if k != "X-Amz-Checksum-Sha256" && k != "Etag" {
					w.Header()[k] = v
				}
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
		},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			b := between(t, server, func(pass http.Handler, w http.ResponseWriter, r *http.Request) { trouble(n.Add(1), pass, w, r) })
			object := strings.ReplaceAll(name, " ", "-")
			if err := b.Put(t.Context(), object, content); err != nil {
				t.Fatal(err)
			}
			if got, err := of(t, server, nil).Get(t.Context(), object); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			n.Store(0)
			if got, err := b.Get(t.Context(), object); err != nil && name != "the answer is lost" || err == nil && !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// A store that says yes and has something else is found out.
func TestBucketVerifies(t *testing.T) {
	server := servertest.S3(t)
	for _, lie := range []string{"cut off", "another checksum"} {
		t.Run(lie, func(t *testing.T) {
			b := between(t, server, func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				pass.ServeHTTP(rec, r)
				if r.Method == http.MethodHead && lie == "cut off" {
					rec.Header().Set("Content-Length", "1")
				}
				if r.Method == http.MethodHead && lie == "another checksum" {
					rec.Header().Set("X-Amz-Checksum-Sha256", "AAAA")
				}
				maps.Copy(w.Header(), rec.Header())
				w.WriteHeader(rec.Code)
				_, _ = w.Write(rec.Body.Bytes())
			})
			if err := b.Put(t.Context(), "lie", []byte("rows")); !errors.Is(err, ErrDiffers) {
				t.Errorf("%v, want %v", err, ErrDiffers)
			}
		})
	}
}

// A store that never gets better, or never answers, is given up.
func TestBucketGivesUp(t *testing.T) {
	server := servertest.S3(t)
	var n atomic.Int32
	b := between(t, server, func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	})
	err := b.Put(t.Context(), "a", []byte("x"))
	if e, ok := errors.AsType[*StatusError](err); !ok || e.Status != 500 || n.Load() != attempts || !strings.Contains(err.Error(), "the store fails, 6 times in a row") {
		t.Errorf("%v after %d attempts", err, n.Load())
	}
	silent := make(chan struct{})
	b = between(t, server, func(_ http.Handler, _ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-silent:
		case <-r.Context().Done():
		}
	})
	defer close(silent)
	why := errors.New("the step's deadline")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, why)
	defer cancel()
	began := time.Now()
	if err := b.Put(ctx, "a", []byte("x")); !errors.Is(err, why) || time.Since(began) > 10*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

func TestBucketSettings(t *testing.T) {
	for _, c := range []BucketConfig{
		{Endpoint: "", Bucket: "b"},
		{Endpoint: "s3.example", Bucket: "b"},
		{Endpoint: "ftp://s3.example", Bucket: "b"},
		{Endpoint: "https://me:pw@s3.example", Bucket: "b"},
		{Endpoint: "https://s3.example", Bucket: ""},
		{Endpoint: "https://s3.example", Bucket: "a/b"},
	} {
		if _, err := Bucket(c); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	s, err := Bucket(BucketConfig{Endpoint: "https://s3.example", Bucket: "b", VirtualHost: true})
	if err != nil || s.(*bucket).base.String() != "https://b.s3.example/" {
		t.Errorf("%v, %v", s.(*bucket).base, err)
	}
}
