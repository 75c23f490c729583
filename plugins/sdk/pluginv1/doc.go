// Package pluginv1 is the Go form of render.proto, the protocol between a host
// and a format plugin. Start with render.proto; authors of plugins in Go want
// package sdk instead. The generated messages print their content, keys
// included: never format or log one.
package pluginv1
