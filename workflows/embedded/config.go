package embedded

import (
	"net"
	"strconv"

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"
)

// loopback is an address and not a name, because Temporal would resolve localhost by
// the environment variable LOCALHOST_IP.
const loopback = "127.0.0.1"

// clusterName is stored in the database and must not change.
const clusterName = "active"

// serverConfig is Temporal's static configuration. Hosts are static, because one
// process needs no membership protocol and no port for it.
func serverConfig(s *store, freePort func() int) (*config.Config, map[primitives.ServiceName]static.Hosts) {
	services := map[string]config.Service{}
	hosts := map[primitives.ServiceName]static.Hosts{}
	for _, name := range temporal.DefaultServices {
		port := freePort()
		services[name] = config.Service{RPC: config.RPC{GRPCPort: port, BindOnIP: loopback}}
		hosts[primitives.ServiceName(name)] = static.SingleLocalHost(net.JoinHostPort(loopback, strconv.Itoa(port)))
	}
	frontend := hosts[primitives.FrontendService].Self
	const off = "disabled"
	return &config.Config{
		Services:     services,
		PublicClient: config.PublicClient{HostPort: frontend},
		Persistence: config.Persistence{
			DefaultStore:     "main",
			VisibilityStore:  "visibility",
			NumHistoryShards: 1, // stored in the database; it cannot change later
			DataStores: map[string]config.DataStore{
				"main":       {SQL: s.main.config},
				"visibility": {SQL: s.visibility.config},
			},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: frontend},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: off},
			Visibility: config.VisibilityArchival{State: off},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: off},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: off},
		}},
	}, hosts
}

// unlimited replaces the request rates that protect a cluster from its tenants. This
// server has one tenant.
const unlimited = 1_000_000

// dynamicConfig is the configuration that Temporal reads while it runs.
func dynamicConfig() dynamicconfig.StaticClient {
	return dynamicconfig.StaticClient{
		dynamicconfig.EnableEagerWorkflowStart.Key():            true,
		dynamicconfig.WorkflowExecutionMaxInFlightUpdates.Key(): 1000, // the default of 10 would refuse concurrent approvers

		// One process needs no partitions. Without them a poll finds a task at once.
		dynamicconfig.MatchingNumTaskqueueReadPartitions.Key():  1,
		dynamicconfig.MatchingNumTaskqueueWritePartitions.Key(): 1,

		// The default of 128,000 cached workflows takes a gigabyte of memory.
		dynamicconfig.HistoryCacheHostLevelMaxSize.Key(): 20_000,

		dynamicconfig.FrontendRPS.Key():                                         unlimited,
		dynamicconfig.FrontendMaxNamespaceRPSPerInstance.Key():                  unlimited,
		dynamicconfig.FrontendMaxConcurrentLongRunningRequestsPerInstance.Key(): unlimited,
		dynamicconfig.FrontendPersistenceMaxQPS.Key():                           unlimited,
		dynamicconfig.HistoryRPS.Key():                                          unlimited,
		dynamicconfig.HistoryPersistenceMaxQPS.Key():                            unlimited,
		dynamicconfig.MatchingRPS.Key():                                         unlimited,
		dynamicconfig.MatchingPersistenceMaxQPS.Key():                           unlimited,

		// These serve large clusters, contact Temporal's servers or continue after Stop.
		dynamicconfig.EnableServerVersionCheck.Key():              false,
		dynamicconfig.EnableNexus.Key():                           false,
		dynamicconfig.EnableParentClosePolicyWorker.Key():         false,
		dynamicconfig.TaskQueueScannerEnabled.Key():               false,
		dynamicconfig.HistoryScannerEnabled.Key():                 false,
		dynamicconfig.PersistenceHealthSignalMetricsEnabled.Key(): false,
	}
}
