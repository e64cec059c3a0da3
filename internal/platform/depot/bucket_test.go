package depot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ai-micro-service/upkeep/internal/testbed/sandbox"
	"github.com/ai-micro-service/upkeep/internal/testbed/servertest"
)

func text(s string) func() (string, error) { return func() (string, error) { return s, nil } }

// of returns the server's bucket, with short pauses.
func of(t *testing.T, server *sandbox.S3, change func(*BucketConfig)) *bucket {
	t.Helper()
	c := BucketConfig{Endpoint: server.Endpoint, Region: server.Region, Bucket: server.Bucket, Prefix: "p/",
		ID: text(server.ID), Secret: text(server.Secret)}
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

// What a store answers to a wrong setting is reported with what to do about it, and
// without the secret.
func TestBucketSaysWhatToDo(t *testing.T) {
	server := servertest.S3(t)
	for name, c := range map[string]struct {
		change func(*BucketConfig)
		want   string
	}{
		"another secret": {change: func(c *BucketConfig) { c.Secret = text("Zx-very-secret-81") },
			want: "the secret of the key is another"},
		"another key": {change: func(c *BucketConfig) { c.ID = text("unknown") },
			want: "does not know the key's id"},
		"no such bucket": {change: func(c *BucketConfig) { c.Bucket = "elsewhere" },
			want: `there is no bucket "elsewhere"`},
		"another region": {change: func(c *BucketConfig) { c.Region = "us-west-9" }, want: "region"},
		"no listener": {change: func(c *BucketConfig) { c.Endpoint = "http://127.0.0.1:1" },
			want: "connection refused"},
		"a key not to read": {change: func(c *BucketConfig) {
			c.Secret = func() (string, error) { return "", errors.New("secret: /x is empty") }
		}, want: "/x is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			b := of(t, server, c.change)
			_, getErr := b.Get(t.Context(), "a")
			_, listErr := b.List(t.Context(), "")
			for what, err := range map[string]error{"Put": b.Put(t.Context(), "a", []byte("x")), "Get": getErr,
				"List": listErr} {
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

// between is a proxy to a store and does to requests what networks do. It
// passes the Host on that was signed.
func between(t *testing.T, server *sandbox.S3, do func(pass http.Handler, w http.ResponseWriter,
	r *http.Request)) *bucket {
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

// A clock that is wrong is said, with how wrong it is.
func TestBucketSaysWhoseClock(t *testing.T) {
	for clock, want := range map[time.Duration]string{time.Hour: "1h0m0s away from that of the store: set it",
		-26 * time.Hour: "-26h0m0s away from that of the store: set it"} {
		b := between(t, servertest.S3(t), func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(-clock).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<Error><Code>RequestTimeTooSkewed</Code></Error>")
		})
		if err := b.Put(t.Context(), "a", []byte("x")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A passing fault is retried; what has been done though its answer was lost is
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
		"no checksums sent": func(_ int32, pass http.Handler, w http.ResponseWriter, r *http.Request) {
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
			b := between(t, server, func(pass http.Handler, w http.ResponseWriter,
				r *http.Request) {
				trouble(n.Add(1), pass, w, r)
			})
			object := strings.ReplaceAll(name, " ", "-")
			if err := b.Put(t.Context(), object, content); err != nil {
				t.Fatal(err)
			}
			if got, err := of(t, server, nil).Get(t.Context(), object); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			n.Store(0)
			if got, err := b.Get(t.Context(), object); err != nil && name != "the answer is lost" || err == nil &&
				!bytes.Equal(got, content) {
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

// An object that the store has cut off after it said yes is found out, whatever the store
// remembers of it, and one that is read and ends early is an error.
func TestBucketCutOff(t *testing.T) {
	server := servertest.S3(t)
	content := bytes.Repeat([]byte("rows"), 100_000)
	cut := func(name string, size int64) {
		if err := os.Truncate(filepath.Join(server.Dir, "objects", server.Bucket, "p", name), size); err != nil {
			t.Error(err)
		}
	}
	b := between(t, server, func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		pass.ServeHTTP(w, r)
		if r.Method == http.MethodPut {
			cut("cut", int64(len(content)/2))
		}
	})
	if err := b.Put(t.Context(), "cut", content); !errors.Is(err, ErrDiffers) ||
		!strings.Contains(err.Error(), "200000 bytes, want 400000") {
		t.Errorf("%v, want %v", err, ErrDiffers)
	}
	b = between(t, server, func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		pass.ServeHTTP(rec, r)
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2]) // and the length of all of it
	})
	if err := of(t, server, nil).Put(t.Context(), "whole", content); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Get(t.Context(), "whole"); err == nil {
		t.Errorf("half of it, %d bytes, is taken for all", len(got))
	}
}

// A wrongSize says another size than it has.
type wrongSize struct {
	memory
	size int64
}

func (w wrongSize) Size() int64 { return w.size }

// What is put is as large as was said, and one request: the parts of an upload would be
// held in memory and could take the place of what is there.
func TestBucketPutsWhole(t *testing.T) {
	server := servertest.S3(t)
	var requests []string
	b := between(t, server, func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		requests = append(requests, r.Method+" "+r.URL.String()+" "+r.Header.Get("If-None-Match"))
		pass.ServeHTTP(w, r)
	})
	for _, size := range []int64{0, 9, 11} {
		if err := b.PutFrom(t.Context(), "wrong", wrongSize{memory("0123456789"), size}); err == nil ||
			!strings.Contains(err.Error(), "its content has 10 bytes, want") {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if len(requests) > 0 {
		t.Errorf("requests: %q", requests)
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 20<<16) // 20 MiB, more than a part of the client's
	if err := b.Put(t.Context(), "large", large); err != nil {
		t.Fatal(err)
	}
	if want := []string{"PUT /archive/p/large *", "HEAD /archive/p/large "}; !slices.Equal(requests, want) {
		t.Errorf("requests: %q, want %q", requests, want)
	}
	if got, err := of(t, server, nil).Get(t.Context(), "large"); err != nil || !bytes.Equal(got, large) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// The signature holds the checksum of the whole, of an empty object too, and its body is
// the content: what a store keeps says nothing of how it came there.
func TestBucketSignsTheWhole(t *testing.T) {
	server := servertest.S3(t)
	type put struct {
		sum, encoding, transfer string
		length                  int64
	}
	var puts []put
	b := between(t, server, func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			puts = append(puts, put{r.Header.Get("X-Amz-Content-Sha256"), r.Header.Get("Content-Encoding"),
				strings.Join(r.TransferEncoding, " "), r.ContentLength})
		}
		pass.ServeHTTP(w, r)
	})
	for name, content := range map[string]string{"empty": "", "small": "content"} {
		puts = nil
		if err := b.Put(t.Context(), name, []byte(content)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sum := sha256.Sum256([]byte(content))
		if want := []put{{hex.EncodeToString(sum[:]), "", "", int64(len(content))}}; !slices.Equal(puts, want) {
			t.Errorf("%s: %+v, want %+v", name, puts, want)
		}
	}
}

// A list that ends before its end is no shorter list.
func TestBucketListCutOff(t *testing.T) {
	server := servertest.S3(t)
	if err := of(t, server, nil).Put(t.Context(), "a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	why := errors.New("the step's deadline")
	for name, do := range map[string]func(rec *httptest.ResponseRecorder) string{
		"it begins again": func(rec *httptest.ResponseRecorder) string {
			return strings.Replace(rec.Body.String(), "<IsTruncated>false</IsTruncated>",
				"<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>", 1)
		},
		"it does not say how it goes on": func(rec *httptest.ResponseRecorder) string {
			return strings.Replace(rec.Body.String(), "<IsTruncated>false</IsTruncated>",
				"<IsTruncated>true</IsTruncated>", 1)
		},
		"half a page": func(rec *httptest.ResponseRecorder) string { return rec.Body.String()[:rec.Body.Len()/2] },
		"a page without end": func(rec *httptest.ResponseRecorder) string {
			return strings.Replace(rec.Body.String(), "<IsTruncated>",
				strings.Repeat(" ", sizeOfAnswer)+"<IsTruncated>", 1)
		},
		"the caller gives up": func(rec *httptest.ResponseRecorder) string {
			cancel(why)
			return strings.Replace(rec.Body.String(), "<IsTruncated>false</IsTruncated>",
				"<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := between(t, server, func(pass http.Handler, w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				if r.URL.Query().Has("continuation-token") { // versitygw does not know ours
					_,
						_ = io.WriteString(rec,
						"<ListBucketResult><Contents><Key>p/a</Key><LastModified>2026-11-29T10:00:00Z</LastModified><Size>1</Size></Contents><IsTruncated>false</IsTruncated></ListBucketResult>")
				} else {
					pass.ServeHTTP(rec, r)
				}
				w.WriteHeader(rec.Code)
				_, _ = io.WriteString(w, do(rec))
			})
			until := t.Context()
			if name == "the caller gives up" {
				until = ctx
			}
			all, err := b.List(until, "")
			if err == nil || until == ctx && !errors.Is(err, why) {
				t.Errorf("%v, %v", all, err)
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
	if e, ok := errors.AsType[*StatusError](err); !ok || e.Status != 500 || n.Load() != attempts ||
		!strings.Contains(err.Error(), "the store fails at each attempt") {
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
	if err := b.Put(ctx, "a", []byte("x")); !errors.Is(err, why) || time.Since(began) > servertest.Patience {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

func TestBucketSettings(t *testing.T) {
	for _, c := range []BucketConfig{
		{Endpoint: "", Bucket: "arc"},
		{Endpoint: "s3.example", Bucket: "arc"},
		{Endpoint: "ftp://s3.example", Bucket: "arc"},
		{Endpoint: "https://me:pw@s3.example", Bucket: "arc"},
		{Endpoint: "https://s3.example/storage/v1", Bucket: "arc"}, // the client cannot
		{Endpoint: "https://s3.example", Bucket: ""},
		{Endpoint: "https://s3.example", Bucket: "a/b"},
	} {
		if _, err := Bucket(c); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []struct {
		BucketConfig
		want string
	}{
		{BucketConfig{Endpoint: "https://s3.example", Bucket: "arc", VirtualHost: true},
			"https://arc.s3.example/p/a ... /us-east-1/"},
		{BucketConfig{Endpoint: "http://s3.example:9000/", Bucket: "arc", Region: "mars"},
			"http://s3.example:9000/arc/p/a ... /mars/"},
		{BucketConfig{Endpoint: "https://s3.eu-central-1.amazonaws.com", Bucket: "arc"},
			"https://s3.eu-central-1.amazonaws.com/arc/p/a ... /eu-central-1/"},
		{BucketConfig{Endpoint: "https://s3.eu-central-1.amazonaws.com", Bucket: "arc", VirtualHost: true},
			"https://arc.s3.eu-central-1.amazonaws.com/p/a ... /eu-central-1/"},
	} {
		c.ID, c.Secret, c.Prefix = text("id"), text("secret"), "p/"
		s, err := Bucket(c.BucketConfig)
		if err != nil {
			t.Fatal(err)
		}
		u, err := s.(*bucket).core.PresignedGetObject(t.Context(), c.Bucket, "p/a", time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		address, region, _ := strings.Cut(c.want, " ... ")
		if got := u.Scheme + "://" + u.Host + u.Path; got != address ||
			!strings.Contains(u.Query().Get("X-Amz-Credential"), region) {
			t.Errorf("%s, want %s", u, c.want)
		}
	}
}
