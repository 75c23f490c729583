// Ferretdb is a server of MongoDB's protocol on SQLite. It demands TLS with a client
// certificate, and a user. ServeSecured starts it.
package main

import (
	"context"
	"flag"
	"log"
	"log/slog"
	"os"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	c := ferretdb.Config{Handler: "sqlite", Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))}
	flag.StringVar(&c.SQLiteURL, "sqlite", "", "folder of the databases, as a URL")
	flag.StringVar(&c.Listener.TLS, "listen", "", "address to listen on")
	flag.StringVar(&c.Listener.TLSCertFile, "cert", "", "certificate of the server")
	flag.StringVar(&c.Listener.TLSKeyFile, "key", "", "private key of that certificate")
	flag.StringVar(&c.Listener.TLSCAFile, "ca", "", "authority of the clients' certificates")
	flag.Parse()
	server, err := ferretdb.New(&c)
	if err == nil {
		err = server.Run(context.Background())
	}
	log.Fatal(err)
}
