package mongo

// OpenMonitored opens a store whose commands a monitor sees.
var OpenMonitored = open

// Index is an index of a collection; a leading "-" makes a member descending.
type Index struct {
	Collection string
	Members    []string
}

// Indexes are those that the store makes.
func Indexes() (all []Index) {
	for _, i := range indexes {
		all = append(all, Index{i.collection, i.members})
	}
	return all
}
