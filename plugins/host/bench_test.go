package host

import (
	"bytes"
	"encoding/pem"
	"slices"
	"testing"
	"time"
)

// The cost of a render through a plugin's process. The same files rendered in
// this process cost what the benchmarks of plugins/pem and plugins/pkcs12 say.
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

// What its process adds to a file of 8 KiB over the same function called here:
// at most 1 ms at the median is wanted (make bench says whether it is).
func BenchmarkOverhead(b *testing.B) {
	h, _ := open(b, Options{}, builtIn(b)...)
	j := job(b, rsaJob, "fullchain")
	for len(encoded(j.Leaf, j.Chain...)) < 8<<10 {
		j.Chain = append(j.Chain, j.Chain[0])
	}
	if !bytes.Equal(render(b, h, j), encoded(j.Leaf, j.Chain...)) {
		b.Fatal("they do not make the same")
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

// encoded is what the plugin pem makes of certificates.
func encoded(leaf []byte, chain ...[]byte) []byte {
	var file bytes.Buffer
	for _, der := range append([][]byte{leaf}, chain...) {
		_ = pem.Encode(&file, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // into memory
	}
	return file.Bytes()
}

// The cost of a plugin's start, from its binary to its description.
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
