package mongo

// OpenMonitored opens a store whose commands a monitor sees.
var OpenMonitored = open
