package depot

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The examples that AWS publishes for a request whose payload is signed in one
// piece: their key, their time, their signatures.
func TestSignaturePublished(t *testing.T) {
	at := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	s := signer{region: "us-east-1", id: "AKIAIOSFODNN7EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	for _, c := range []struct {
		name, method, path string
		query              url.Values
		header             map[string]string
		body, want         string
	}{
		{
			"get object", http.MethodGet, "/test.txt", nil,
			map[string]string{"Range": "bytes=0-9"},
			"",
			"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		},
		{
			"put object", http.MethodPut, "/test$file.text", nil,
			map[string]string{"Date": "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY"},
			"Welcome to Amazon S3.",
			"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
		},
		{
			"get the lifecycle", http.MethodGet, "/",
			url.Values{"lifecycle": {""}},
			nil, "",
			"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
		},
		{
			"list", http.MethodGet, "/",
			url.Values{"max-keys": {"2"}, "prefix": {"J"}},
			nil, "",
			"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), c.method, "https://examplebucket.s3.amazonaws.com", strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			r.URL.Path, r.URL.RawPath, r.URL.RawQuery = c.path, escapePath(c.path), query(c.query)
			for name, value := range c.header {
				r.Header.Set(name, value)
			}
			s.sign(r, Sum([]byte(c.body)), at)
			_, got, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
			if got != c.want {
				t.Errorf("signature %s, want %s", got, c.want)
			}
			if !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,") {
				t.Errorf("Authorization: %s", r.Header.Get("Authorization"))
			}
		})
	}
}
