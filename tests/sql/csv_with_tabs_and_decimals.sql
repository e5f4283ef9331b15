CREATE TABLE prices (sku TEXT, price DECIMAL(10, 2))
WITH (connector = 'single_file', path = 'inputs/gross.csv', "csv.delimiter" = 'tab');
CREATE TABLE result (sku TEXT, price DECIMAL(10, 2), tax DECIMAL(12, 4)) WITH (connector = 'single_file', path = 'out.csv', "csv.delimiter" = ';');
INSERT INTO result SELECT sku, price, price * 0.25 FROM prices;
