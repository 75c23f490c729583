package host

import "testing"

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
