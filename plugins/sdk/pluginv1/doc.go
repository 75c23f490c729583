// Package pluginv1 is the Go code generated from render.proto, the protocol between
// a host and a format plugin. Start with render.proto. Authors of plugins in Go use
// package sdk instead. A message that is printed shows its content, private keys
// included, so never format or log one.
package pluginv1
