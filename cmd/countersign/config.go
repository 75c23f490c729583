package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/countersign-dev/countersign/engine"
)

// Config holds every setting of a server. The defaults serve on loopback with
// everything embedded. The setting "mongodb.uri" is also the flag --mongodb-uri
// and the variable COUNTERSIGN_MONGODB_URI; a flag overrides a variable, and a
// variable overrides the file. deploy/README.md lists the settings.
type Config struct {
	Listen         string   `koanf:"listen" default:"127.0.0.1:8080" usage:"address to serve on"`
	ListenAdmin    string   `koanf:"listen_admin" default:"127.0.0.1:8081" usage:"address to serve metrics and the reasons of readiness on, to operators without a credential; empty for none"`
	PublicURL      string   `koanf:"public_url" usage:"URL under which callers reach this server, for the links it hands out; requests for another host are refused (default: the IP address or localhost, as each caller used it)"`
	Data           string   `koanf:"data" usage:"folder for databases and the local key file (default: countersign in the user's state folder)"`
	Plugins        string   `koanf:"plugins" usage:"catalogue of format plugins (default: plugins/catalogue.json beside this program)"`
	TrustedProxies []string `koanf:"trusted_proxies" usage:"addresses or networks of reverse proxies; X-Forwarded-For and X-Forwarded-Proto are believed from these only"`
	Bootstrap      string   `koanf:"bootstrap" usage:"file that gets the first administrator's API keys and password while the installation has no user"`

	Wait  time.Duration `koanf:"wait" default:"1m" usage:"how long a start waits for a MongoDB or a Temporal service that does not answer yet"`
	Drain time.Duration `koanf:"drain" default:"0s" usage:"how long the server goes on serving after SIGTERM or SIGINT while /readyz answers 503; set it to what a load balancer needs to notice, its interval times its failures"`

	TLS           TLSConfig           `koanf:"tls"`
	Sandbox       SandboxConfig       `koanf:"sandbox"`
	Policies      PoliciesConfig      `koanf:"policies"`
	Keeper        KeeperConfig        `koanf:"keeper"`
	Anchor        AnchorConfig        `koanf:"anchor"`
	Audit         AuditConfig         `koanf:"audit"`
	MongoDB       MongoDBConfig       `koanf:"mongodb"`
	Temporal      TemporalConfig      `koanf:"temporal"`
	Retention     RetentionConfig     `koanf:"retention"`
	Limits        LimitsConfig        `koanf:"limits"`
	Sessions      SessionsConfig      `koanf:"sessions"`
	Notifications NotificationsConfig `koanf:"notifications"`
	Log           LogConfig           `koanf:"log"`
	Traces        TracesConfig        `koanf:"traces"`
}

// TLSConfig makes the server speak HTTPS itself.
type TLSConfig struct {
	CertFile       string `koanf:"cert_file" usage:"certificate of this server, and its chain, as PEM; with it, the server speaks HTTPS and nothing else at listen"`
	KeyFile        string `koanf:"key_file" usage:"private key of that certificate, as PEM; nobody else may read the file"`
	ClientCAFile   string `koanf:"client_ca_file" usage:"certificates of the authorities from which client certificates must come, as PEM (default: no client certificate is asked for)"`
	ClientCerts    string `koanf:"client_certificates" default:"require" usage:"require refuses callers without a client certificate; optional serves them too, but not with API keys that are bound to one"`
	RedirectListen string `koanf:"redirect_listen" usage:"address that answers plain HTTP: pages are redirected to public_url, and everything else is refused; empty for none"`
}

// SandboxConfig says how strictly format plugins are confined.
type SandboxConfig struct {
	Mode string `koanf:"mode" default:"best_effort" usage:"best_effort also runs plugins that this system cannot confine completely, and reports what is missing in the log and in their state; require does not run them"`
}

// PoliciesConfig says where an installation's own policy rules are.
type PoliciesConfig struct {
	Dir string `koanf:"dir" usage:"folder of policy rules (*.rego) in addition to the built-in ones; changes are loaded while the server runs"`
}

// KeeperConfig says what encrypts the keys at rest. engine/keys/kms lists the
// URLs of keepers.
type KeeperConfig struct {
	URL      string   `koanf:"url" usage:"keeper that encrypts keys at rest, as a URL (default: the local key file)"`
	Previous []string `koanf:"previous" usage:"keepers that encrypted keys before and still decrypt them"`
	File     string   `koanf:"file" usage:"local key file (default: keys/local.key in the data folder)"`
}

// AnchorConfig says where the heads of the audit log are kept outside the database.
// engine/anchor lists the URLs.
type AnchorConfig struct {
	URL      string        `koanf:"url" usage:"where the heads of the audit log are kept outside the database: a path, or a file, s3, azblob or https URL (default: anchor.json in the data folder)"`
	Interval time.Duration `koanf:"interval" default:"1m" usage:"how often they are written there, at least 1s"`
}

// MongoDBConfig chooses the production store.
type MongoDBConfig struct {
	URI string `koanf:"uri" usage:"MongoDB connection string with a database name (default: SQLite in the data folder)"`

	UsernameFile string `koanf:"username_file" usage:"file with the name of the MongoDB user; nobody else may read it (default: the user in mongodb.uri)"`
	PasswordFile string `koanf:"password_file" usage:"file with the password of the MongoDB user, read again for each connection; nobody else may read it (default: the password in mongodb.uri)"`
}

// TemporalConfig chooses the Temporal service.
type TemporalConfig struct {
	Address   string `koanf:"address" usage:"host:port of a Temporal service (default: one embedded in this process)"`
	Namespace string `koanf:"namespace" default:"countersign" usage:"Temporal namespace"`

	TLS        bool   `koanf:"tls" default:"false" usage:"connect by TLS; any of the next five settings, and COUNTERSIGN_TEMPORAL_API_KEY, turn it on too"`
	CAFile     string `koanf:"ca_file" usage:"certificates of the authorities that the service's certificate may come from, as PEM (default: the system's)"`
	CertFile   string `koanf:"cert_file" usage:"certificate of this client, as PEM"`
	KeyFile    string `koanf:"key_file" usage:"private key of that certificate, as PEM; nobody else may read the file"`
	ServerName string `koanf:"server_name" usage:"name that the service's certificate must have (default: the host of temporal.address)"`
	APIKeyFile string `koanf:"api_key_file" usage:"file with an API key for the service; nobody else may read it (COUNTERSIGN_TEMPORAL_API_KEY may have the key itself)"`

	CreateNamespace bool `koanf:"create_namespace" default:"false" usage:"make the namespace if it is missing; it keeps workflows for 72h after their end"`
}

// RetentionConfig says how long ended tokens and requests, certificates' events and audit
// entries are kept, and where audit entries go then. engine/anchor lists the URLs.
type RetentionConfig struct {
	Tokens   time.Duration `koanf:"tokens" default:"720h" usage:"how long records of ended tokens are kept, at least 720h"`
	Requests time.Duration `koanf:"requests" default:"0s" usage:"how long ended requests are kept; 0 keeps them forever"`
	Events   time.Duration `koanf:"events" default:"0s" usage:"how long the events of certificates' timelines are kept, at least as long as tokens; 0 keeps them forever"`
	Audit    time.Duration `koanf:"audit" default:"0s" usage:"how long audit entries are kept, at least 720h longer than requests and events, which must not be 0 then; 0 keeps them forever"`
	Archive  string        `koanf:"archive" usage:"folder to which audit entries are written before they are deleted: a path, or a file, s3, azblob or https URL (default: they are not archived)"`
}

// ages are for how long documents are kept.
func (c RetentionConfig) ages() engine.RetentionAges {
	return engine.RetentionAges{Tokens: c.Tokens, Requests: c.Requests, Events: c.Events, Audit: c.Audit, Archived: c.Archive != ""}
}

// LimitsConfig limits what callers may try, and what one person may have at a time.
type LimitsConfig struct {
	Connections           int `koanf:"connections" default:"4096" usage:"connections that each node may have open at once; at most half of the files that the system lets this process open"`
	ConnectionsPerAddress int `koanf:"connections_per_address" default:"512" usage:"connections that an IPv4 address or an IPv6 /64 may have open at once to each node; trusted_proxies may have any number"`
	UnknownTokens         int `koanf:"unknown_tokens" default:"60" usage:"unknown tokens that an address may try per minute at each node"`
	LiveTokens            int `koanf:"live_tokens" default:"10000" usage:"tokens of one person in a project that are neither consumed nor expired, counted for all nodes together"`
	WaitingRequests       int `koanf:"waiting_requests" default:"100" usage:"requests of one person in a project that wait for approval, counted for all nodes together"`
	Mints                 int `koanf:"mints" default:"64" usage:"mints, claims, votes and cancellations that may be under way at once, fewer while they are slow; twice as many wait for at most 2s, and the others are answered 503"`
	Redemptions           int `koanf:"redemptions" default:"64" usage:"redemptions that may be under way at once, with the same wait"`
	Calls                 int `koanf:"calls" default:"256" usage:"other calls that may be under way at once, with the same wait"`
}

// SessionsConfig limits how long a browser stays signed in.
type SessionsConfig struct {
	Idle time.Duration `koanf:"idle" default:"1h" usage:"how long a browser stays signed in without use"`
	Life time.Duration `koanf:"life" default:"12h" usage:"how long a browser stays signed in at most"`
}

// NotificationsConfig says which hosts without public addresses notifications may reach.
type NotificationsConfig struct {
	AllowHosts []string `koanf:"allow_hosts" usage:"hosts that notifications may be sent to although their addresses are not public, and over plain http; written exactly as in the targets' URLs"`
}

// LogConfig says what is logged to standard error.
type LogConfig struct {
	Level  string `koanf:"level" default:"info" usage:"lowest level that is logged: debug, info, warn or error"`
	Format string `koanf:"format" default:"text" usage:"text or json"`
}

// TracesConfig says where traces of calls and workflows go.
type TracesConfig struct {
	Endpoint    string  `koanf:"otlp_endpoint" usage:"URL of a collector of OpenTelemetry to which traces are sent by OTLP over HTTP, with its path, such as http://127.0.0.1:4318/v1/traces (default: there are no traces)"`
	HeadersFile string  `koanf:"headers_file" usage:"file with headers for the collector, such as a credential, one Name: value a line, read again for each request; nobody else may read it"`
	CAFile      string  `koanf:"ca_file" usage:"certificates of the authorities that the collector's certificate may come from, as PEM (default: the system's)"`
	Sample      float64 `koanf:"sample" default:"1" usage:"share of calls that are traced, above 0 and up to 1"`
}

// setting is one leaf of Config.
type setting struct{ key, flag, value, usage string }

// settings lists the leaves of Config with their defaults.
func settings() []setting {
	var list []setting
	var walk func(t reflect.Type, prefix string)
	walk = func(t reflect.Type, prefix string) {
		for i := range t.NumField() {
			f := t.Field(i)
			key := prefix + f.Tag.Get("koanf")
			if f.Type.Kind() == reflect.Struct {
				walk(f.Type, key+".")
				continue
			}
			list = append(list, setting{key, strings.NewReplacer(".", "-", "_", "-").Replace(key), f.Tag.Get("default"), f.Tag.Get("usage")})
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return list
}

// addFlags defines a flag for each setting named, or for all.
func addFlags(flags *pflag.FlagSet, only ...string) {
	for _, s := range settings() {
		if len(only) == 0 || slices.Contains(only, s.key) {
			flags.String(s.flag, s.value, s.usage)
			if s.value == "false" {
				flags.Lookup(s.flag).NoOptDefVal = "true" // --flag alone means true
			}
		}
	}
}

// configured gives a command the settings of an installation, as flags and in a file, and
// runs it with them. Only its user may read the files that it makes.
func configured(cmd *cobra.Command, run func(cmd *cobra.Command, args []string, config Config) error) *cobra.Command {
	var file string
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		config, err := loadConfig(file, cmd.Flags())
		if err != nil {
			return usageError{err}
		}
		unix.Umask(0o077)
		return run(cmd, args, config)
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML) of the installation")
	addFlags(cmd.Flags())
	return cmd
}

// loadConfig reads the configuration and checks it, as far as the settings alone tell.
func loadConfig(path string, flags *pflag.FlagSet) (Config, error) {
	c, err := readConfig(path, flags)
	if err == nil {
		err = errors.Join(c.wrong()...)
	}
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return c, nil
}

// readConfig reads the file (unless path is empty), then the COUNTERSIGN_
// variables, then the flags that were given. An unknown setting in the file is an
// error; an unknown variable is not, because the client has variables too.
func readConfig(path string, flags *pflag.FlagSet) (Config, error) {
	k := koanf.New(".")
	defaults, byFlag, byEnv := map[string]any{}, map[string]string{}, map[string]string{}
	for _, s := range settings() {
		defaults[s.key] = s.value
		byFlag[s.flag] = s.key
		byEnv["COUNTERSIGN_"+strings.ToUpper(strings.ReplaceAll(s.flag, "-", "_"))] = s.key
	}
	err := k.Load(confmap.Provider(defaults, "."), nil)
	if err == nil && path != "" {
		err = k.Load(file.Provider(path), yaml.Parser())
	}
	if err == nil {
		err = k.Load(env.Provider(".", env.Opt{Prefix: "COUNTERSIGN_", TransformFunc: func(name, value string) (string, any) {
			return byEnv[name], value // koanf ignores an empty key
		}}), nil)
	}
	if err == nil {
		err = k.Load(posflag.ProviderWithFlag(flags, ".", nil, func(f *pflag.Flag) (string, any) {
			if !f.Changed {
				return "", nil
			}
			return byFlag[f.Name], f.Value.String()
		}), nil)
	}
	if err != nil {
		return Config{}, err
	}
	return decodeConfig(k)
}

func decodeConfig(k *koanf.Koanf) (Config, error) {
	var c Config
	err := k.UnmarshalWithConf("", &c, koanf.UnmarshalConf{Tag: "koanf", DecoderConfig: &mapstructure.DecoderConfig{
		Result: &c, ErrorUnused: true, WeaklyTypedInput: true, TagName: "koanf",
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToSliceHookFunc(",")),
	}})
	if err == nil {
		err = c.complete()
	}
	return c, err
}

// complete fills in the defaults that depend on the machine.
func (c *Config) complete() error {
	if c.Data == "" {
		state, err := stateFolder()
		if err != nil {
			return err
		}
		c.Data = state
	}
	var err error
	if c.Data, err = filepath.Abs(c.Data); err != nil {
		return fmt.Errorf("find the data folder: %w", err)
	}
	if c.Keeper.File == "" {
		c.Keeper.File = filepath.Join(c.Data, "keys", "local.key")
	}
	if c.Anchor.URL == "" {
		c.Anchor.URL = filepath.Join(c.Data, "anchor.json")
	}
	if c.Plugins == "" {
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the plugins beside this program: %w", err)
		}
		c.Plugins = filepath.Join(filepath.Dir(program), "plugins", "catalogue.json")
	}
	return nil
}

// stateFolder follows the XDG Base Directory Specification.
func stateFolder() (string, error) {
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "countersign"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the user's state folder: %w", err)
	}
	return filepath.Join(home, ".local", "state", "countersign"), nil
}
