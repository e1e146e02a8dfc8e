-- The storm that stands in for a delivery, and the deliveries that are storms and not over.
ALTER TABLE deliveries ADD COLUMN storm TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN raging INTEGER NOT NULL DEFAULT 0;
CREATE INDEX deliveries_storm ON deliveries (storm) WHERE storm <> '';
CREATE INDEX deliveries_raging ON deliveries (lane) WHERE raging = 1;

-- What was spent of the providers' limits.
CREATE TABLE budgets (key TEXT PRIMARY KEY, doc TEXT NOT NULL);
