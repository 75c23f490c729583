package main

import (
	"context"
	"os"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/tracing"
)

func (c TracesConfig) collector() tracing.Collector {
	return tracing.Collector{Endpoint: c.Endpoint, HeadersFile: c.HeadersFile, CAFile: c.CAFile}
}

// openTraces begins to send traces, if the settings name a collector. A collector that does
// not answer keeps no server from starting.
func (s *system) openTraces() (err error) {
	if s.config.Traces.Endpoint == "" {
		return nil
	}
	host, _ := os.Hostname() // it is only shown
	s.traces, err = tracing.Open(tracing.Options{
		Collector: s.config.Traces.collector(), Sample: s.config.Traces.Sample, Version: version, Host: host,
		Metrics: s.metrics, Clock: engine.SystemClock, Log: s.log,
	})
	if err == nil {
		s.onClose(s.traces.Close)
	}
	return err
}

// checkTraces does not call the collector.
func (c *Config) checkTraces(context.Context) error {
	if c.Traces.Endpoint == "" {
		return nil
	}
	return c.Traces.collector().Check()
}
