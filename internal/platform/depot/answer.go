package depot

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// sizeOfAnswer limits what is read of an error or of a page of a list.
	sizeOfAnswer = 4 << 20
)

// A transport limits how long a store may take, and makes a *StatusError of an answer
// that is not a good one: the client loses its headers.
type transport struct {
	bucket string
	next   http.RoundTripper
}

// errClosed replaces the end of a connection where an answer was expected. The client
// replaces an error that has EOF in its text.
var errClosed = errors.New("the store closed the connection")

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := newWatch(r.Context(), answerWithin+time.Duration(max(r.ContentLength, 0)>>20)*time.Second)
	a, err := t.next.RoundTrip(r.WithContext(w.ctx))
	if err != nil {
		if err = cause(w.ctx, err); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errClosed
		}
		w.end()
		return nil, err
	}
	body := &stream{body: a.Body, watch: w}
	if a.StatusCode == http.StatusOK {
		w.timer.Stop()
		a.Body = body
		if r.URL.Query().Has("list-type") {
			a.Body = &page{body, sizeOfAnswer}
		}
		return a, nil
	}
	defer func() { _ = body.Close() }() // was read
	text, err := io.ReadAll(io.LimitReader(body, sizeOfAnswer))
	if err != nil {
		return nil, err
	}
	return nil, refusal(t.bucket, a, text)
}

// A page of a list is an error where it is larger than a page can be.
type page struct {
	*stream
	left int64
}

// Read implements io.Reader.
func (p *page) Read(into []byte) (int, error) {
	n, err := p.stream.Read(into)
	if p.left -= int64(n); p.left < 0 {
		return 0, fmt.Errorf("a page of the list has more than %d MiB", int64(sizeOfAnswer)>>20)
	}
	return n, err
}

// A StatusError is an answer of a store that is not the wanted one.
type StatusError struct {
	Status int    // of HTTP
	Code   string // of S3, if one was sent
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

// refusal returns what an answer that is not a good one means, and what to do about it.
// Of the store's own text only the code is shown: the rest may repeat the request.
func refusal(bucket string, a *http.Response, body []byte) *StatusError {
	var said struct{ Code string }
	_ = xml.Unmarshal(body, &said) // an answer without a body, or from somebody between, has no code
	if len(said.Code) > 64 || strings.ContainsFunc(said.Code, func(r rune) bool { return r < '0' || r > 'z' }) {
		said.Code = ""
	}
	return &StatusError{Status: a.StatusCode, Code: said.Code,
		what: cmp.Or(advice(bucket, a, said.Code), "the store refuses")}
}

func advice(bucket string, a *http.Response, code string) string {
	switch {
	case code == "RequestTimeTooSkewed":
		at, err := http.ParseTime(a.Header.Get("Date"))
		if err != nil {
			return "the clocks of this machine and of the store differ by too much: set them"
		}
		return fmt.Sprintf("the clock of this machine is %s away from that of the store: set it",
			time.Since(at).Round(time.Minute))
	case code == "SignatureDoesNotMatch":
		return "the store does not accept the signature: the secret of the key is another, or something between " +
			"changes the request"
	case code == "InvalidAccessKeyId", code == "XAdminUserNotFound": // the latter is versitygw's
		return "the store does not know the key's id"
	case code == "AuthorizationHeaderMalformed", a.StatusCode == http.StatusMovedPermanently,
		a.StatusCode == http.StatusTemporaryRedirect:
		if region := a.Header.Get("X-Amz-Bucket-Region"); region != "" && CheckName(region) == nil {
			return "the bucket is in the region " + region + ": set region, and the endpoint of it"
		}
		return "the store sends elsewhere: set the bucket's region and its endpoint"
	case a.StatusCode == http.StatusForbidden, a.StatusCode == http.StatusUnauthorized:
		return "the store does not let the key do that: allow it s3:PutObject and s3:GetObject on the objects and " +
			"s3:ListBucket on the bucket"
	case code == "NoSuchBucket":
		return "there is no bucket " + strconv.Quote(bucket) + ": make it, or set bucket"
	case a.StatusCode == http.StatusNotFound && (code == "" || code == "NoSuchKey"):
		return "there is no such object"
	case a.StatusCode >= 500:
		return "the store fails at each attempt"
	}
	return ""
}
