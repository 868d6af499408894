"""Names: which keys can be files, how they form a tree, and the snapshot that holds it; no network."""
