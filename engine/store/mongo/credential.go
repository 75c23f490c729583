package mongo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/x/mongo/driver"
	"go.mongodb.org/mongo-driver/x/mongo/driver/auth"
	"go.mongodb.org/mongo-driver/x/mongo/driver/operation"

	"github.com/countersign-dev/countersign/engine"
)

// Credential names the files that have a user's name and password. They are read for each
// new connection, so that a new password is used without a restart. Without a file for
// the name, the URI has it; without one for the password, the URI has both.
type Credential struct{ UsernameFile, PasswordFile string }

// errTwoCredentials says that the URI has a part of what the files have.
var errTwoCredentials = errors.New("the MongoDB URI has a user or a password that mongodb.username_file or mongodb.password_file has too; take it out of the URI")

// inURI checks the files, and returns a URI from which the driver makes a credential: in
// the place of what the files have, it has other texts.
func (c Credential) inURI(uri string) (string, error) {
	if c.PasswordFile == "" {
		return uri, nil
	}
	if _, _, err := c.read("unused"); err != nil {
		return "", err
	}
	scheme, rest, _ := strings.Cut(uri, "://")
	end := strings.IndexAny(rest+"/", "/?")
	hosts, user := rest[:end], ""
	if at := strings.LastIndex(hosts, "@"); at >= 0 {
		hosts, user = hosts[at+1:], hosts[:at]
	}
	switch {
	case strings.Contains(user, ":") || user != "" && c.UsernameFile != "":
		return "", errTwoCredentials
	case c.UsernameFile != "":
		user = "file"
	case user == "":
		return "", errors.New("mongodb.password_file needs a user, in mongodb.username_file or in the MongoDB URI: mongodb://user@host:port/database")
	}
	return scheme + "://" + user + ":file@" + hosts + rest[end:], nil
}

// read returns the name and the password of the moment.
func (c Credential) read(username string) (name, password string, err error) {
	if c.UsernameFile != "" {
		if username, err = readLine("mongodb.username_file", c.UsernameFile); err != nil {
			return "", "", err
		}
	}
	password, err = readLine("mongodb.password_file", c.PasswordFile)
	return username, password, err
}

// readLine reads a file without the end of its line.
func readLine(setting, path string) (string, error) {
	text, err := engine.ReadSecretFile(path)
	if text = bytes.TrimRight(text, "\r\n"); err == nil && len(text) == 0 {
		err = fmt.Errorf("%s is empty", path)
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", setting, err)
	}
	return string(text), nil
}

// The driver makes an authenticator once, by the name of a mechanism, from a credential
// that may have properties. Under the name fromFiles, it gets one that makes another for
// each connection.
const (
	fromFiles         = "COUNTERSIGN-FILES"
	mechanismProperty = "mechanism"
	usernameProperty  = "username_file"
	passwordProperty  = "password_file"
)

func init() {
	auth.RegisterAuthenticatorFactory(fromFiles, func(c *auth.Cred, client *http.Client) (auth.Authenticator, error) {
		return &fileAuthenticator{*c, client}, nil
	})
}

// use has the driver authenticate by the files.
func (c Credential) use(opts *options.ClientOptions) error {
	if c.PasswordFile == "" {
		return nil
	}
	switch opts.Auth.AuthMechanism {
	case "", auth.SCRAMSHA1, auth.SCRAMSHA256, auth.PLAIN:
	default:
		return errors.New("mongodb.password_file is for the mechanisms SCRAM-SHA-1, SCRAM-SHA-256 and PLAIN; take authMechanism out of the MongoDB URI, or take out the setting")
	}
	opts.Auth.AuthMechanismProperties = map[string]string{
		mechanismProperty: opts.Auth.AuthMechanism, usernameProperty: c.UsernameFile, passwordProperty: c.PasswordFile,
	}
	opts.Auth.AuthMechanism = fromFiles
	return nil
}

// fileAuthenticator authenticates each connection by what the files then have.
type fileAuthenticator struct {
	cred   auth.Cred
	client *http.Client
}

// Auth implements driver.Authenticator.
func (a *fileAuthenticator) Auth(ctx context.Context, cfg *auth.Config) (err error) {
	cred, mechanism := a.cred, a.cred.Props[mechanismProperty]
	files := Credential{UsernameFile: cred.Props[usernameProperty], PasswordFile: cred.Props[passwordProperty]}
	if cred.Username, cred.Password, err = files.read(cred.Username); err != nil {
		return err
	}
	cred.Props = nil
	if mechanism == "" {
		if cfg.HandshakeInfo.SaslSupportedMechs, err = mechanisms(ctx, cfg, cred.Source+"."+cred.Username); err != nil {
			return err
		}
	}
	authenticator, err := auth.CreateAuthenticator(mechanism, &cred, a.client)
	if err != nil {
		return err
	}
	return authenticator.Auth(ctx, cfg)
}

// Reauth implements driver.Authenticator. No mechanism that has a password can do it.
func (a *fileAuthenticator) Reauth(context.Context, *auth.Config) error {
	return errors.New("a connection cannot change its user")
}

// mechanisms asks a server by which mechanisms it knows a user, as the driver does in its
// first message when it knows the user already.
func mechanisms(ctx context.Context, cfg *auth.Config, user string) ([]string, error) {
	hello := "isMaster"
	if cfg.Description.HelloOK {
		hello = "hello"
	}
	question, err := bson.Marshal(bson.D{{Key: hello, Value: 1}, {Key: "saslSupportedMechs", Value: user}})
	if err != nil {
		return nil, err
	}
	command := operation.NewCommand(question).Database("admin").
		Deployment(driver.SingleConnectionDeployment{C: cfg.Connection}).ClusterClock(cfg.ClusterClock).ServerAPI(cfg.ServerAPI)
	if err := command.Execute(ctx); err != nil {
		return nil, err
	}
	var answer struct {
		Mechanisms []string `bson:"saslSupportedMechs"`
	}
	err = bson.Unmarshal(command.Result(), &answer)
	return answer.Mechanisms, err
}
