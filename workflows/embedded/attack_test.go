package embedded

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Another process of the machine gets no answer from any port of the server: not by
// any method of any service that the server could serve, and not with any
// credential that it can make for itself.
func TestOtherProcessesAreRefused(t *testing.T) {
	dir := t.TempDir()
	cmd := startChild(t, dir)
	ports := 0
	for _, k := range sockets(t, cmd.Process.Pid) {
		if !k.listening {
			continue
		}
		ports++
		address := net.JoinHostPort(loopback, strconv.Itoa(int(k.port)))
		for name, credential := range strangers(t) {
			t.Run(name+" at "+address, func(t *testing.T) { attack(t, address, credential) })
		}
	}
	if ports == 0 {
		t.Error("no listener found: the test looks in the wrong place")
	}
	kill(t, cmd)

	s := start(t, Options{Dir: dir})
	defer s.Stop()
	c, stop := mustWork(t, s)
	defer stop()
	stillRuns(t, c, "held")
}

// strangers are the credentials of callers that the server does not know. They
// accept any server.
func strangers(t *testing.T) map[string]credentials.TransportCredentials {
	other, err := newCredential()
	if err != nil {
		t.Fatal(err)
	}
	other.InsecureSkipVerify = true
	return map[string]credentials.TransportCredentials{
		"no encryption":            insecure.NewCredentials(),
		"no certificate":           credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}), //nolint:gosec // see above
		"a certificate of its own": credentials.NewTLS(other),
	}
}

// attack calls every method of every Temporal service with an empty message, which
// a server that lets the caller in answers with another error, or at all.
func attack(t *testing.T, address string, credential credentials.TransportCredentials) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credential))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	names := methods()
	for _, must := range []string{
		"/temporal.api.workflowservice.v1.WorkflowService/TerminateWorkflowExecution",
		"/temporal.server.api.adminservice.v1.AdminService/DescribeMutableState",
		"/temporal.server.api.historyservice.v1.HistoryService/TerminateWorkflowExecution",
		"/temporal.server.api.matchingservice.v1.MatchingService/PollWorkflowTaskQueue",
	} {
		if !slices.Contains(names, must) {
			t.Fatalf("%s is not among the methods", must)
		}
	}
	for _, name := range names {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // a long poll that is let in answers with this
		err := conn.Invoke(ctx, name, &emptypb.Empty{}, &emptypb.Empty{})
		cancel()
		if status.Code(err) != codes.Unavailable {
			t.Errorf("%s answers: %v", name, err)
		}
	}
	options := client.Options{HostPort: address, Namespace: "countersign", Logger: discard, ConnectionOptions: client.ConnectionOptions{
		DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(credential)},
	}}
	if c, err := client.DialContext(t.Context(), options); err == nil {
		c.Close()
		t.Error("a Temporal client connects")
	}
}

// methods lists every method of the services in this binary, which contains the
// server: Temporal's own, and those of gRPC.
func methods() (names []string) {
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				names = append(names, "/"+string(s.FullName())+"/"+string(s.Methods().Get(j).Name()))
			}
		}
		return true
	})
	return names
}

// A process that took the server's port, or that answers in its place after its
// death, gets nothing from the clients.
func TestClientsRefuseAnotherServer(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	defer s.Stop()
	other, err := newCredential()
	if err != nil {
		t.Fatal(err)
	}
	other.ClientAuth = tls.RequestClientCert
	for name, server := range map[string]*grpc.Server{
		"no encryption":            grpc.NewServer(),
		"a certificate of its own": grpc.NewServer(grpc.Creds(credentials.NewTLS(other))),
	} {
		listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = server.Serve(listener) }() // ends with Stop
		trust := s.ClientOptions(client.Options{}).ConnectionOptions.TLS
		conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(trust)))
		if err != nil {
			t.Fatal(err)
		}
		// A server that the client trusts would answer that it does not have the method.
		if err := conn.Invoke(t.Context(), methods()[0], &emptypb.Empty{}, &emptypb.Empty{}); status.Code(err) != codes.Unavailable {
			t.Errorf("the client talks to a server with %s: %v", name, err)
		}
		_ = conn.Close()
		server.Stop()
	}
}
