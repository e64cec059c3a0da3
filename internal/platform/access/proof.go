package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// Proof returns what shows, without the token itself, that a server knows a token: an answer to
// a challenge that was never used before, for the address at which the server was asked. What
// a server answers at its own address is of no use at another one.
func Proof(token, challenge, address string) string {
	key := sha256.Sum256([]byte(token)) // of one length, so that no part of it moves into the text
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte("upkeep proof\x00" + address + "\x00" + challenge))
	return hex.EncodeToString(h.Sum(nil))
}

// Proves reports whether a proof is the one of a token.
func Proves(proof, token, challenge, address string) bool {
	return token != "" && hmac.Equal([]byte(proof), []byte(Proof(token, challenge, address)))
}
