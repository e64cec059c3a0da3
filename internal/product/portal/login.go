package portal

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	. "maragu.dev/gomponents"
	. "maragu.dev/gomponents/html"

	"github.com/ai-micro-service/upkeep/internal/platform/access"
	"github.com/ai-micro-service/upkeep/internal/platform/web"
)

// ProofPath is where a command asks for a Proof.
const ProofPath = Prefix + "/proof"

// A Proof shows that an upkeep knows the admin token of its data_dir, as access.Proof makes it.
type Proof struct {
	Proof string `json:"proof"`
}

// A LoginLink lets a person log in once, with the identity of who made it.
type LoginLink struct {
	URL   string `json:"url"`
	Until string `json:"until"`
}

// LoginRoutes returns where people log in and out.
func (p *Portal) LoginRoutes() []web.Route {
	if p.Guard == nil {
		return nil
	}
	logout := web.Post("/logout", access.View, "end the session", p.logout)
	logout.Roles, logout.Pool = nil, web.Pool{}
	logout.Open = true // the cookie is what is asked for
	return []web.Route{
		{Methods: []string{http.MethodGet}, Path: LoginPath, Open: true, Page: true,
			Doc: "the page where people log in", Handler: func(g *gin.Context) { p.showLogin(g, "", g.Query("next")) }},
		{Methods: []string{http.MethodPost}, Path: LoginPath, Open: true, Page: true, Body: MaxForm,
			Pool: web.Logins(), Doc: "log in with a user and password, or a one-time link", Handler: p.login},
		logout,
		RequestAt("/logins", access.View, "make a one-time link for the own identity", p.makeLogin),
	}
}

// AskLogin shows the login page in the place of another page, or of what a form has posted: the login leads back to
// the page of the form.
func (p *Portal) AskLogin(g *gin.Context) {
	if g.Request.Method == http.MethodPost {
		p.showLogin(g, "Nothing was done: the session has ended. Log in, and send it again.",
			path.Dir(g.Request.URL.EscapedPath()))
		return
	}
	p.showLogin(g, "", g.Request.URL.RequestURI())
}

func (p *Portal) showLogin(g *gin.Context, problem, next string) {
	once := g.Query("once")
	if g.Request.URL.Path != LoginPath {
		once = ""
	}
	id, in := web.Identity(g)
	p.Plain(g, "Log in",
		If(problem != "", P(Class("bad"), Text(problem))),
		If(in, Form(Method("post"), Action("/logout"),
			P(Text("You are logged in as "+id.String()+" with the role "+id.Role.String()+".")),
			Button(Type("submit"), Text("Log out")))),
		Form(Method("post"), Action(LoginPath), AutoComplete("off"),
			Input(Type("hidden"), Name("next"), Value(Local(next))),
			Iff(once != "", func() Node {
				return Group{P(Text("This link logs you in once.")),
					Input(Type("hidden"), Name("once"), Value(once))}
			}),
			Iff(once == "", func() Node {
				return Group{
					Label(Text("User"), Input(Name("name"), AutoComplete("username"), Attr("autofocus"))),
					Label(Text("Password"), Input(Name("password"), Type("password"),
						AutoComplete("current-password"))),
				}
			}),
			Button(Type("submit"), Class("good"), Text("Log in")),
		),
		P(Class("soft"), Text("Without a password: run "), Code(Text("upkeep login")),
			Text(" on the machine of upkeep, or with a token. It prints a link.")),
	)
}

func (p *Portal) login(g *gin.Context) {
	began := time.Now()
	if err := g.Request.ParseForm(); err != nil {
		g.Status(http.StatusBadRequest)
		p.showLogin(g, "The form could not be read.", "")
		return
	}
	form := g.Request.PostForm
	var id access.Identity
	var err error
	if code := form.Get("once"); code != "" {
		id, err = p.Guard.Use(g.Request, code)
	} else {
		id, _, err = p.Guard.Login(g.Request, form.Get("name"), form.Get("password"))
	}
	if err == nil && id.Role == access.None {
		g.Status(http.StatusForbidden)
		p.showLogin(g, "This user has no role: grant one in web.users.", form.Get("next"))
		return
	}
	if err == nil {
		err = p.Guard.Begin(g.Writer, id, p.secure(g.Request))
	}
	if err != nil {
		web.Wrong(g.Request.Context(), began)
		g.Status(http.StatusUnauthorized)
		p.showLogin(g, "Not logged in: "+p.shown(err)+".", form.Get("next"))
		return
	}
	p.Logger.Info("logged in", "identity", id.String(), "remote", g.Request.RemoteAddr)
	g.Redirect(http.StatusSeeOther, Local(form.Get("next")))
}

// shown returns what strangers see of an error: one of the store or of a file is in the log only.
func (p *Portal) shown(err error) string {
	for _, known := range []error{access.ErrWrong, access.ErrSlow, access.ErrBusy} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	p.Logger.Error("login could not be checked", "path", LoginPath, "err", err)
	return "the login could not be checked; the log of upkeep says why"
}

func (p *Portal) logout(g *gin.Context) {
	if err := p.Guard.End(g.Writer, g.Request, p.secure(g.Request)); err != nil {
		p.Logger.Warn("a logout could not be kept: a restart forgets it", "err", err)
	}
	g.Redirect(http.StatusSeeOther, LoginPath)
}

// secure reports whether a browser reaches upkeep by TLS, so that the cookie needs it.
func (p *Portal) secure(r *http.Request) bool {
	return r.TLS != nil || strings.HasPrefix(p.External, "https://")
}

// Local returns a path on this site, where a form may ask for any.
func Local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") ||
		strings.ContainsAny(next, "\\\r\n\t") || u.Path == LoginPath {
		return "/"
	}
	return next
}

func (p *Portal) makeLogin(g *gin.Context) {
	id, _ := web.Identity(g)
	if !access.Lasting(g.Request) {
		p.Answer(g, 0, nil, ErrorWith(http.StatusForbidden, "a session makes no login link, which would outlive "+
			"it: use a token or a password"))
		return
	}
	link, err := p.LoginFor(id)
	if err == nil {
		p.Logger.Info("login link made", "identity", id.String(), "remote", g.Request.RemoteAddr)
	}
	p.Answer(g, http.StatusOK, link, err)
}

// LoginFor returns a one-time link for an identity.
func (p *Portal) LoginFor(id access.Identity) (LoginLink, error) {
	code, until, err := p.Guard.Once(id)
	return LoginLink{strings.TrimSuffix(p.External, "/") + LoginPath + "?once=" + code, Moment(until)}, err
}
