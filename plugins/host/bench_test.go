package host

import (
	"bytes"
	"encoding/pem"
	"slices"
	"testing"
	"time"
)

// BenchmarkRender measures a render in a plugin's process. The benchmarks in
// plugins/formats measure the same renders without another process.
func BenchmarkRender(b *testing.B) {
	h, _ := open(b, Options{}, builtIn(b)...)
	for _, format := range []string{"cert", "fullchain", "key", "pkcs12", "zip"} {
		j := job(b, rsaJob, format)
		b.Run(format, func(b *testing.B) {
			for b.Loop() {
				render(b, h, j)
			}
		})
		b.Run(format+"/parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					render(b, h, j)
				}
			})
		})
	}
}

// BenchmarkOverhead measures how much longer a render of 8 KiB takes in a plugin's
// process than in this one. The target is at most 1 ms at the median; make bench
// checks it.
func BenchmarkOverhead(b *testing.B) {
	h, _ := open(b, Options{}, builtIn(b)...)
	j := job(b, rsaJob, "fullchain")
	for len(encoded(j.Leaf, j.Chain...)) < 8<<10 {
		j.Chain = append(j.Chain, j.Chain[0])
	}
	if !bytes.Equal(render(b, h, j), encoded(j.Leaf, j.Chain...)) {
		b.Fatal("the plugin and this process render different files")
	}
	var here, there []time.Duration
	for b.Loop() {
		began := time.Now()
		render(b, h, j)
		between := time.Now()
		encoded(j.Leaf, j.Chain...)
		there, here = append(there, between.Sub(began)), append(here, time.Since(between))
	}
	slices.Sort(here)
	slices.Sort(there)
	b.ReportMetric((there[len(there)/2]-here[len(here)/2]).Seconds()*1000, "ms-more-at-p50")
}

// encoded renders certificates as the plugin pem does.
func encoded(leaf []byte, chain ...[]byte) []byte {
	var file bytes.Buffer
	for _, der := range append([][]byte{leaf}, chain...) {
		_ = pem.Encode(&file, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a buffer in memory accepts every write
	}
	return file.Bytes()
}

// BenchmarkOpen measures the start of a plugin, until it has described its formats.
func BenchmarkOpen(b *testing.B) {
	path := folder(b, builtIn(b)[0])
	for b.Loop() {
		h, err := Open(b.Context(), Options{Catalogue: path})
		if err != nil {
			b.Fatal(err)
		}
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
