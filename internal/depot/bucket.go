package depot

import (
	"context"
	"crypto/md5" //nolint:gosec // what stores call an ETag is an MD5; nothing hangs on it that SHA-256 has not said
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A BucketConfig says where a bucket of an S3-compatible store is.
type BucketConfig struct {
	Endpoint    string // https://host or http://host:9000
	Region      string // part of the signature; us-east-1 where a store has no regions
	Bucket      string
	Prefix      string // what the keys of all objects begin with, like "upkeep/"
	VirtualHost bool   // the bucket is the first part of the host's name, and not of the path

	// ID and Secret tell the key when a request is made. What they return is in no
	// error and no log.
	ID, Secret func() (string, error)
}

const (
	// attempts is how often a request is made in all: with the pauses between them
	// it outlasts the restart of a store, some ten seconds.
	attempts = 6

	firstPause = 200 * time.Millisecond
	longPause  = 5 * time.Second

	// answerWithin bounds one attempt, beside one second for each megabyte.
	answerWithin = 30 * time.Second

	// sizeOfAnswer bounds what is read of an error or of a page of a list.
	sizeOfAnswer = 4 << 20
)

// Bucket returns a Store that keeps each object under its name in a bucket. A
// request that fails for a reason that passes is made again, a few times.
func Bucket(c BucketConfig) (Store, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, errors.New("bucket: the endpoint is none; something like https://s3.eu-central-1.amazonaws.com was expected")
	}
	if c.Bucket == "" || strings.ContainsAny(c.Bucket, "/\\?#%: \t\r\n") {
		return nil, fmt.Errorf("bucket: %q is no name of a bucket", c.Bucket)
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	base := &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/") + "/"}
	if c.VirtualHost {
		base.Host = c.Bucket + "." + base.Host
	} else {
		base.Path += c.Bucket + "/"
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 10 * time.Second}
	client := &http.Client{
		Transport: transport,
		// The signature names the host: who is sent elsewhere must sign anew.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &bucket{BucketConfig: c, base: base, client: client, now: time.Now, pause: firstPause}, nil
}

type bucket struct {
	BucketConfig
	base   *url.URL
	client *http.Client
	now    func() time.Time
	pause  time.Duration // before the second attempt; each further one waits twice as long
}

// An answer is what a store said to one request.
type answer struct {
	status int
	header http.Header
	body   []byte
	stream *stream // in the place of the body
}

// A call is one request, which may be made several times.
type call struct {
	method, key string
	query       url.Values
	header      map[string]string
	body        Content
	sum         string // SHA-256 of the body
	want        int64  // how much of the answer is read at most
}

// Put implements Store.
func (b *bucket) Put(ctx context.Context, name string, content []byte) error {
	return b.PutFrom(ctx, name, memory(content))
}

// sums are the checksums of an object by which a store can be asked what it has.
type sums struct {
	size   int64
	sha256 [sha256.Size]byte
	md5    [md5.Size]byte
}

func sumsOf(content Content) (s sums, err error) {
	long, short := sha256.New(), md5.New() //nolint:gosec // see the import
	s.size = content.Size()
	_, err = io.CopyBuffer(io.MultiWriter(long, short), struct{ io.Reader }{content.Reader()}, make([]byte, chunk))
	long.Sum(s.sha256[:0])
	short.Sum(s.md5[:0])
	return s, err
}

// PutFrom implements Streamer. The store compares the content with its SHA-256, does
// not write over what is there, and is then asked what it has.
func (b *bucket) PutFrom(ctx context.Context, name string, content Content) error {
	err := CheckName(name)
	if err == nil {
		err = fits(content)
	}
	if err != nil {
		return err
	}
	sum, err := sumsOf(content)
	if err != nil {
		return err
	}
	header := map[string]string{"X-Amz-Checksum-Sha256": base64.StdEncoding.EncodeToString(sum.sha256[:]), "If-None-Match": "*", "Content-Type": "application/octet-stream"}
	put := call{method: http.MethodPut, key: name, header: header, body: content, sum: hex.EncodeToString(sum.sha256[:]), want: sizeOfAnswer}
	a, err := b.do(ctx, put)
	if err == nil && a.status == http.StatusNotImplemented {
		// There are stores that cannot refuse to write over an object. Its name
		// says what is in it, so that it is written over by the same.
		delete(header, "If-None-Match")
		a, err = b.do(ctx, put)
	}
	switch {
	case err != nil && b.verify(ctx, name, content, sum) == nil:
		// A store that has the object may refuse it before it has read it all and
		// close, so that its answer is never heard.
		return nil
	case err == nil && a.status != http.StatusPreconditionFailed:
		err = b.refused(a, http.StatusOK)
	}
	if err == nil {
		err = b.verify(ctx, name, content, sum)
	}
	if err != nil {
		return fmt.Errorf("bucket %s: object %s: %w", b.Bucket, name, err)
	}
	return nil
}

// verify asks the store what it has under a name and compares it with what it
// should have. A store that tells neither a checksum nor an MD5 is asked for all
// of it.
func (b *bucket) verify(ctx context.Context, name string, content Content, sum sums) error {
	a, err := b.do(ctx, call{method: http.MethodHead, key: name, header: map[string]string{"X-Amz-Checksum-Mode": "ENABLED"}})
	if err == nil {
		err = b.refused(a, http.StatusOK)
	}
	if err != nil {
		return err
	}
	if size := a.header.Get("Content-Length"); size != strconv.FormatInt(sum.size, 10) {
		return fmt.Errorf("%w: it has %s bytes, want %d", ErrDiffers, size, sum.size)
	}
	if told := a.header.Get("X-Amz-Checksum-Sha256"); told != "" && !strings.Contains(told, "-") {
		if told != base64.StdEncoding.EncodeToString(sum.sha256[:]) {
			return fmt.Errorf("%w: its checksum is another", ErrDiffers)
		}
		return nil
	}
	if tag := strings.Trim(a.header.Get("ETag"), `"`); tag == hex.EncodeToString(sum.md5[:]) {
		return nil
	}
	there, err := b.open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { _ = there.Close() }() // was read
	is, err := same(there, content.Reader())
	if err == nil && !is {
		err = ErrDiffers
	}
	return err
}

// Get implements Store.
func (b *bucket) Get(ctx context.Context, name string) ([]byte, error) {
	object, err := b.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = object.Close() }() // was read
	content, err := readAll(object, largest)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: object %s: %w", b.Bucket, name, err)
	}
	return content, nil
}

// Open implements Streamer.
func (b *bucket) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	object, err := b.open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: object %s: %w", b.Bucket, name, err)
	}
	return object, nil
}

// open makes a request for an object. What is wrong at its beginning is tried again,
// as with any other; a connection that is lost later is for the reader to tell.
func (b *bucket) open(ctx context.Context, name string) (io.ReadCloser, error) {
	a, err := b.do(ctx, call{method: http.MethodGet, key: name, want: streamed})
	if err == nil {
		err = b.refused(a, http.StatusOK)
	}
	if err != nil {
		return nil, err
	}
	return a.stream, nil
}

// A page is one page of a list.
type page struct {
	Contents []struct {
		Key          string
		Size         int64
		LastModified time.Time
	}
	IsTruncated           bool
	NextContinuationToken string
}

// List implements Store.
func (b *bucket) List(ctx context.Context, prefix string) ([]Object, error) {
	var all []Object
	for token := ""; ; {
		q := url.Values{"list-type": {"2"}, "prefix": {b.Prefix + prefix}}
		if token != "" {
			q.Set("continuation-token", token)
		}
		a, err := b.do(ctx, call{method: http.MethodGet, query: q, want: sizeOfAnswer})
		if err == nil {
			err = b.refused(a, http.StatusOK)
		}
		var p page
		if err == nil {
			err = xml.Unmarshal(a.body, &p)
		}
		if err == nil && p.IsTruncated && (p.NextContinuationToken == "" || p.NextContinuationToken == token) {
			err = errors.New("the list does not say how it goes on")
		}
		if err != nil {
			return nil, fmt.Errorf("bucket %s: list: %w", b.Bucket, err)
		}
		for _, o := range p.Contents {
			if name, ours := strings.CutPrefix(o.Key, b.Prefix); ours && CheckName(name) == nil {
				all = append(all, Object{Name: name, Size: o.Size, Modified: o.LastModified})
			}
		}
		if token = p.NextContinuationToken; !p.IsTruncated {
			slices.SortFunc(all, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
			return all, nil
		}
	}
}

// do makes a request, and makes it again while what is wrong may pass.
func (b *bucket) do(ctx context.Context, c call) (a answer, err error) {
	pause := b.pause
	for try := 1; ; try++ {
		a, err = b.once(ctx, c)
		passing := err != nil || a.status >= 500 && a.status != http.StatusNotImplemented || a.status == http.StatusTooManyRequests || a.status == http.StatusRequestTimeout || a.status == http.StatusConflict
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
		if !passing || errors.Is(err, errKey) || try == attempts {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, context.Cause(ctx)
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		}
		pause = min(2*pause, longPause)
	}
}

// errKey says that the key could not be read, which trying again does not mend.
var errKey = errors.New("the key of the bucket")

func (b *bucket) once(ctx context.Context, c call) (a answer, err error) {
	r, err := b.request(ctx, c)
	if err != nil {
		return a, err
	}
	limit := answerWithin
	if c.body != nil {
		limit += time.Duration(c.body.Size()>>20) * time.Second
	}
	w := newWatch(ctx, limit)
	response, err := b.client.Do(r.WithContext(w.ctx))
	if err != nil {
		err = cause(w.ctx, err)
		w.end()
		return a, err
	}
	a = answer{status: response.StatusCode, header: response.Header}
	if c.want == streamed && a.status == http.StatusOK {
		w.timer.Stop()
		a.stream = &stream{body: response.Body, watch: w}
		return a, nil
	}
	defer w.end()
	defer func() { _ = response.Body.Close() }() // was read
	want := c.want
	if a.status != http.StatusOK {
		want = sizeOfAnswer
	}
	a.body, err = io.ReadAll(io.LimitReader(response.Body, want))
	return a, cause(w.ctx, err)
}

// request is the signed request of a call.
func (b *bucket) request(ctx context.Context, c call) (*http.Request, error) {
	s := signer{region: b.Region}
	var err error
	if s.id, err = b.ID(); err == nil {
		s.secret, err = b.Secret()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errKey, err)
	}
	if c.body == nil {
		c.body, c.sum = memory(nil), Sum(nil)
	}
	r, err := http.NewRequestWithContext(ctx, c.method, b.base.String(), nil)
	if err != nil {
		return nil, err
	}
	if r.ContentLength = c.body.Size(); r.ContentLength > 0 {
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(c.body.Reader()), nil }
		r.Body, _ = r.GetBody() // never fails
	}
	key := ""
	if c.key != "" {
		key = b.Prefix + c.key
	}
	r.URL.Path = b.base.Path + key
	r.URL.RawPath = escapePath(r.URL.Path)
	r.URL.RawQuery = query(c.query)
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	s.sign(r, c.sum, b.now())
	return r, nil
}

// cause leaves the address out of an error of the client, and says whose deadline
// has ended the request.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if inner, ok := errors.AsType[*url.Error](err); ok {
		return inner.Err
	}
	return err
}

// escapePath writes a path as signatures want it.
func escapePath(path string) string {
	parts := strings.Split(path, "/")
	for i := range parts {
		parts[i] = escape(parts[i])
	}
	return strings.Join(parts, "/")
}

// refused returns what an answer that is not the wanted one means, and what to do
// about it. Of the store's own words only the code is told: the rest may repeat
// the request.
func (b *bucket) refused(a answer, want int) error {
	if a.status == want {
		return nil
	}
	var said struct{ Code string }
	_ = xml.Unmarshal(a.body, &said) // an answer without a body, or from somebody between, has no code
	if len(said.Code) > 64 || strings.ContainsFunc(said.Code, func(r rune) bool { return r < '0' || r > 'z' }) {
		said.Code = ""
	}
	what := b.advice(a, said.Code)
	if what == "" {
		what = "the store refuses"
	}
	return &StatusError{Status: a.status, Code: said.Code, what: what}
}

// A StatusError is an answer of a store that is not the wanted one.
type StatusError struct {
	Status int    // of HTTP
	Code   string // of S3, where one was told
	what   string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s (status %d %s)", e.what, e.Status, e.Code)
}

// Is makes an answer that an object is missing one of ErrMissing.
func (e *StatusError) Is(err error) bool {
	// An answer to HEAD has no code.
	return err == ErrMissing && e.Status == http.StatusNotFound && (e.Code == "" || e.Code == "NoSuchKey")
}

func (b *bucket) advice(a answer, code string) string {
	switch {
	case code == "RequestTimeTooSkewed":
		at, err := http.ParseTime(a.header.Get("Date"))
		if err != nil {
			return "the clocks of this machine and of the store differ by too much: set them"
		}
		return fmt.Sprintf("the clock of this machine is %s away from that of the store: set it", b.now().Sub(at).Round(time.Minute))
	case code == "SignatureDoesNotMatch":
		return "the store does not accept the signature: the secret of the key is another, or something between changes the request"
	case code == "InvalidAccessKeyId", code == "XAdminUserNotFound": // the latter is versitygw's
		return "the store does not know the key's id"
	case code == "AuthorizationHeaderMalformed", a.status == http.StatusMovedPermanently, a.status == http.StatusTemporaryRedirect:
		if region := a.header.Get("X-Amz-Bucket-Region"); region != "" && CheckName(region) == nil {
			return "the bucket is in the region " + region + ": set region, and the endpoint of it"
		}
		return "the store sends elsewhere: set the bucket's region and its endpoint"
	case a.status == http.StatusForbidden, a.status == http.StatusUnauthorized:
		return "the store does not let the key do that: allow it s3:PutObject and s3:GetObject on the objects and s3:ListBucket on the bucket"
	case code == "NoSuchBucket":
		return "there is no bucket " + strconv.Quote(b.Bucket) + ": make it, or set bucket"
	case a.status == http.StatusNotFound && (code == "" || code == "NoSuchKey"):
		return "there is no such object"
	case a.status >= 500:
		return fmt.Sprintf("the store fails, %d times in a row", attempts)
	}
	return ""
}
