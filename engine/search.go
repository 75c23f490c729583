package engine

import (
	"maps"
	"slices"
)

// gramSize is the number of bytes of a gram.
const gramSize = 3

// SearchGrams are all parts of three bytes of a text, each once and in order, as numbers.
// A store keeps those of [Certificate.SearchText] in an index, so that a search reads
// only the certificates which have a gram of its words.
func SearchGrams(text string) []int32 {
	found := map[int32]bool{}
	for i := gramSize; i <= len(text); i++ {
		found[int32(text[i-3])<<16|int32(text[i-2])<<8|int32(text[i-1])] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// commonGrams are those that most certificates have.
var commonGrams = func() map[int32]bool {
	found := map[int32]bool{}
	for _, text := range []string{"cn=www.", ",ou=", ",o=", ".com", ".org", ".net", ".example.com", ".internal", ".local", ".svc.cluster.local"} {
		for _, gram := range SearchGrams(text) {
			found[gram] = true
		}
	}
	return found
}()

// QueryGrams are the grams of a query's words, those that few certificates have first.
// There is none if every word is shorter than a gram.
func QueryGrams(words []string) []int32 {
	var rare, common []int32
	for _, word := range words {
		for _, gram := range SearchGrams(word) {
			if commonGrams[gram] {
				common = append(common, gram)
			} else {
				rare = append(rare, gram)
			}
		}
	}
	return append(rare, common...)
}
