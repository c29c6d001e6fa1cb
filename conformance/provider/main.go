// A provider of OpenID Connect: the server of zitadel/oidc, a certified library, as its own example starts it, but at
// an address and with an issuer of one's choice. The client `web` has the secret `secret`, and the user `test-user2` the
// password `verysecure`.
package main

import (
	"log"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

func main() {
	issuer := os.Getenv("ISSUER")
	callbacks := strings.Split(os.Getenv("REDIRECT_URI"), ",")
	storage.RegisterClients(storage.WebClient("web", "secret", callbacks...))
	users := storage.NewUserStore(issuer)
	router := exampleop.SetupServer(issuer, storage.NewStorage(users), slog.Default(), false)
	log.Fatal(http.ListenAndServe(os.Getenv("LISTEN"), router))
}
