package depot

import (
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // the ETag of an object is its MD5
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// A BucketConfig says where a bucket of an S3-compatible store is.
type BucketConfig struct {
	Endpoint    string // https://host or http://host:9000
	Region      string // part of the signature; "": that of the endpoint, or us-east-1 where a store has no regions
	Bucket      string
	Prefix      string // what the keys of all objects begin with, like "upkeep/"
	VirtualHost bool   // the bucket is the first part of the host's name, and not of the path

	// ID and Secret tell the key when a request is made. What they return is in no
	// error and no log.
	ID, Secret func() (string, error)
}

// Bucket returns a Store that keeps each object under its name in a bucket. A
// request that fails for a reason that passes is made again, a few times.
func Bucket(c BucketConfig) (Store, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("bucket: invalid endpoint: expected a URL without a path, like " +
			"https://s3.eu-central-1.amazonaws.com")
	}
	if s3utils.CheckValidBucketName(c.Bucket) != nil {
		return nil, fmt.Errorf("bucket: %q is no name of a bucket", c.Bucket)
	}
	lookup := minio.BucketLookupPath
	if c.VirtualHost {
		lookup = minio.BucketLookupDNS
	}
	u.Path = ""
	core, err := minio.NewCore(u.Host, &minio.Options{
		Creds: credentials.New(key{c.ID, c.Secret}), Secure: u.Scheme == "https",
		Region:       cmp.Or(c.Region, s3utils.GetRegionFromURL(*u), "us-east-1"),
		BucketLookup: lookup, MaxRetries: 1, Transport: &transport{bucket: c.Bucket, next: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableCompression: true, MaxIdleConnsPerHost: 2,
			IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("bucket: endpoint: %w", err)
	}
	core.SetS3EnableDualstack(false) // the host that was named, and no other
	return &bucket{BucketConfig: c, core: core, pause: firstPause}, nil
}

type bucket struct {
	BucketConfig
	core  *minio.Core
	pause time.Duration // before the second attempt; each further one waits twice as long
}

// A key is read anew for each request, so that a new one counts at once.
type key struct{ id, secret func() (string, error) }

// RetrieveWithCredContext implements credentials.Provider.
func (k key) RetrieveWithCredContext(*credentials.CredContext) (v credentials.Value, err error) {
	v.SignerType = credentials.SignatureV4
	if v.AccessKeyID, err = k.id(); err == nil {
		v.SecretAccessKey, err = k.secret()
	}
	if err != nil {
		return credentials.Value{}, fmt.Errorf("%w: %w", errKey, err)
	}
	return v, nil
}

// Retrieve implements credentials.Provider.
func (k key) Retrieve() (credentials.Value, error) { return k.RetrieveWithCredContext(nil) }

// IsExpired implements credentials.Provider.
func (k key) IsExpired() bool { return true }

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

// sumsOf reads a content once. One that gives other than its size is found here, and not
// as an object that is cut off.
func sumsOf(content Content) (s sums, err error) {
	long, short := sha256.New(), md5.New() //nolint:gosec // see the import
	s.size, err = io.CopyBuffer(io.MultiWriter(long, short), struct{ io.Reader }{content.Reader()}, make([]byte, chunk))
	if err == nil && s.size != content.Size() {
		err = fmt.Errorf("its content has %d bytes, want %d", s.size, content.Size())
	}
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
	if err = b.putFrom(ctx, name, content); err != nil {
		return fmt.Errorf("bucket %s: object %s: %w", b.Bucket, name, err)
	}
	return nil
}

func (b *bucket) putFrom(ctx context.Context, name string, content Content) error {
	sum, err := sumsOf(content)
	if err != nil {
		return err
	}
	// One PUT: the parts of a larger upload are kept in memory, have no checksum of the
	// whole, and can be written over what is there.
	put := func(o minio.PutObjectOptions) error {
		o.ContentType = "application/octet-stream"
		// The checksum of the whole is in the signature. Without this, and without TLS, the
		// client signs parts instead: the object is then kept as aws-chunked, and the end of
		// an empty one is read by the store as the next request.
		o.DisableContentSha256 = true
		o.UserMetadata = map[string]string{"X-Amz-Checksum-Sha256": base64.StdEncoding.EncodeToString(sum.sha256[:])}
		return retry(ctx, b.pause, func() error {
			_, err := b.core.PutObject(ctx, b.Bucket, b.Prefix+name, content.Reader(), sum.size, "",
				hex.EncodeToString(sum.sha256[:]), o)
			return err
		})
	}
	var fresh minio.PutObjectOptions
	fresh.SetMatchETagExcept("*")
	if err = put(fresh); statusOf(err) == http.StatusNotImplemented {
		// There are stores that cannot refuse to write over an object. Its name
		// says what is in it, so that it is written over by the same.
		err = put(minio.PutObjectOptions{})
	}
	switch status := statusOf(err); {
	case err == nil, status == http.StatusPreconditionFailed:
		return b.verify(ctx, name, content, sum)
	case status == 0 && b.verify(ctx, name, content, sum) == nil:
		// A store that has the object may refuse it before it has read it all and
		// close, so that its answer is never heard.
		return nil
	}
	return err
}

// verify asks the store what it has under a name and compares it with what it
// should have. A store that tells neither a checksum nor an MD5 is asked for all
// of it.
func (b *bucket) verify(ctx context.Context, name string, content Content, sum sums) error {
	var is minio.ObjectInfo
	err := retry(ctx, b.pause, func() (err error) {
		is, err = b.core.StatObject(ctx, b.Bucket, b.Prefix+name, minio.StatObjectOptions{Checksum: true})
		return err
	})
	if err != nil {
		return err
	}
	if is.Size != sum.size {
		return fmt.Errorf("%w: it has %d bytes, want %d", ErrDiffers, is.Size, sum.size)
	}
	if has := is.ChecksumSHA256; has != "" && !strings.Contains(has, "-") {
		if has != base64.StdEncoding.EncodeToString(sum.sha256[:]) {
			return fmt.Errorf("%w: its checksum is another", ErrDiffers)
		}
		return nil
	}
	if is.ETag == hex.EncodeToString(sum.md5[:]) {
		return nil
	}
	there, err := b.open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { _ = there.Close() }() // was read
	equal, err := same(there, content.Reader())
	if err == nil && !equal {
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
func (b *bucket) open(ctx context.Context, name string) (object io.ReadCloser, err error) {
	err = retry(ctx, b.pause, func() (err error) {
		object, _, _, err = b.core.GetObject(ctx, b.Bucket, b.Prefix+name, minio.GetObjectOptions{})
		return err
	})
	return object, err
}

// List implements Store.
func (b *bucket) List(ctx context.Context, prefix string) (all []Object, err error) {
	err = retry(ctx, b.pause, func() (err error) {
		all, err = b.list(ctx, prefix)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("bucket %s: list: %w", b.Bucket, err)
	}
	slices.SortFunc(all, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (b *bucket) list(ctx context.Context, prefix string) (all []Object, err error) {
	first := ""
	for o := range b.core.ListObjectsIter(ctx, b.Bucket,
		minio.ListObjectsOptions{Prefix: b.Prefix + prefix, Recursive: true, FetchOwner: new(false)}) {
		switch {
		case o.Err != nil:
			return nil, o.Err
		case o.Key == first:
			return nil, errors.New("the list begins again where it should go on")
		case first == "":
			first = o.Key
		}
		if name, ours := strings.CutPrefix(o.Key, b.Prefix); ours && CheckName(name) == nil {
			all = append(all, Object{Name: name, Size: o.Size, Modified: o.LastModified})
		}
	}
	return all, ctx.Err() // at which the client ends the list without a word
}
