// Package access knows who a request comes from and what that identity may do: roles, tokens,
// passwords, sessions and one-time links. Nothing is allowed that no role grants.
package access

import (
	"fmt"
	"strings"
)

// A Role is what an identity may do. Each from View on includes the ones before it; Deliver is
// for monitoring systems and includes nothing else.
type Role int

// The roles. The zero value may do nothing.
const (
	None    Role = iota
	Deliver      // deliver alerts to the webhooks
	View         // read
	Operate      // plan, run, cancel, pause, silence
	Approve      // approve and reject plans, promote policies
	Admin        // everything
)

// Roles returns all roles that can be granted.
func Roles() []Role { return []Role{Deliver, View, Operate, Approve, Admin} }

// String returns the name that the configuration uses.
func (r Role) String() string {
	switch r {
	case Deliver:
		return "deliver"
	case View:
		return "view"
	case Operate:
		return "operate"
	case Approve:
		return "approve"
	case Admin:
		return "admin"
	default:
		return "none"
	}
}

// ParseRole returns the role of a name.
func ParseRole(name string) (Role, error) {
	var names []string
	for _, r := range Roles() {
		if r.String() == name {
			return r, nil
		}
		names = append(names, r.String())
	}
	return None, fmt.Errorf("role %q: want one of %s", name, strings.Join(names, ", "))
}

// Includes reports whether who has the role may do what asks for another.
func (r Role) Includes(need Role) bool {
	switch {
	case r == None || need == None:
		return false
	case r == need || r == Admin:
		return true
	case r == Deliver || need == Deliver:
		return false
	}
	return r > need
}

// A Kind is the way in which an identity was authenticated.
type Kind string

// The kinds of identities.
const (
	ByToken Kind = "token"
	ByUser  Kind = "user"
	ByLink  Kind = "link" // the holder of a signed approval link, who has no name
)

// An Identity is who a request comes from.
type Identity struct {
	Kind Kind
	Name string // "" for a link
	Role Role
}

// Link is the identity of who answers by a signed link.
func Link() Identity { return Identity{Kind: ByLink} }

// String returns the identity as the journal has it: user/ann, token/ci, link. It has no space.
func (i Identity) String() string {
	if i.Name == "" {
		return string(i.Kind)
	}
	return string(i.Kind) + "/" + plain(i.Name)
}

const claims = " (claims to be "

// By returns the identity with the name that the request claims, where it differs. The claim is
// one line and is not verified.
func (i Identity) By(claim string) string {
	claim = strings.TrimPrefix(claim, string(i.Kind)+"/")
	if claim == "" || claim == i.Name {
		return i.String()
	}
	return i.String() + claims + claim + ")"
}

// Authenticated returns the identity in what By has returned.
func Authenticated(by string) string {
	identity, _, _ := strings.Cut(by, claims)
	return identity
}

// plain escapes what would make a name look like something else in the journal.
func plain(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("._@+-", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
