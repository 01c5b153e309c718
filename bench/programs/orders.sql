-- Rows made by recursion, an index, a join, an ordering, changes and removals, in a database on a file.
PRAGMA synchronous = OFF;
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, town INTEGER);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, amount INTEGER, note TEXT);
BEGIN;
INSERT INTO customer WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    SELECT i, 'customer ' || (i * 7919 % 2003), i % 37 FROM n;
INSERT INTO orders WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
    SELECT i, 1 + i * 7919 % 2000, i * 104729 % 9973, printf('note %05d of %x', i, i * 31) FROM n;
COMMIT;
CREATE INDEX orders_customer ON orders (customer);
SELECT town, count(*), sum(amount) FROM customer JOIN orders ON orders.customer = customer.id GROUP BY town ORDER BY town;
SELECT name, total FROM (SELECT customer, sum(amount) AS total FROM orders GROUP BY customer)
    JOIN customer ON id = customer ORDER BY total DESC, name LIMIT 20;
SELECT count(*) FROM orders WHERE note LIKE '%9 of %a%';
UPDATE orders SET amount = amount + 1 WHERE customer % 10 = 3;
DELETE FROM orders WHERE id % 5 = 0;
SELECT count(*), sum(amount), max(note) FROM orders;
SELECT substr(note, 1, 8), amount FROM orders ORDER BY amount DESC, note LIMIT 10;
