package depot

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A signer signs requests as AWS's Signature Version 4 says, for the service s3.
type signer struct{ region, id, secret string }

// stamp is the form of a time in a signature.
const stamp = "20060102T150405Z"

// sign adds the headers of a signature to a request whose payload has that
// SHA-256, in hexadecimal digits. All headers that the request has are signed.
func (s signer) sign(r *http.Request, payload string, now time.Time) {
	at := now.UTC().Format(stamp)
	r.Header.Set("X-Amz-Date", at)
	r.Header.Set("X-Amz-Content-Sha256", payload)
	names := []string{"host"}
	values := map[string]string{"host": r.URL.Host}
	for name, all := range r.Header {
		name = strings.ToLower(name)
		names = append(names, name)
		values[name] = strings.Join(strings.Fields(strings.Join(all, ",")), " ")
	}
	slices.Sort(names)
	var headers strings.Builder
	for _, name := range names {
		headers.WriteString(name + ":" + values[name] + "\n")
	}
	signed := strings.Join(names, ";")
	canonical := strings.Join([]string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, headers.String(), signed, payload}, "\n")
	scope := at[:8] + "/" + s.region + "/s3/aws4_request"
	text := "AWS4-HMAC-SHA256\n" + at + "\n" + scope + "\n" + Sum([]byte(canonical))
	key := []byte("AWS4" + s.secret)
	for _, part := range []string{at[:8], s.region, "s3", "aws4_request", text} {
		key = mac(key, part)
	}
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+s.id+"/"+scope+",SignedHeaders="+signed+",Signature="+hex.EncodeToString(key))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// escape writes a text as signatures want it in paths and queries: every byte
// that is not a letter, a digit or one of "-._~" as %XX.
func escape(text string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// query writes parameters sorted, as signatures want them.
func query(q url.Values) string {
	var all []string
	for name, values := range q {
		for _, v := range values {
			all = append(all, escape(name)+"="+escape(v))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "&")
}
