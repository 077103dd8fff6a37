-- The ERP's database as its application made it: numbered keys, foreign keys, its own numbering by trigger.
CREATE TABLE party (
    id           INTEGER       PRIMARY KEY AUTOINCREMENT,
    code         VARCHAR(20)   UNIQUE,
    name         VARCHAR(120)  NOT NULL,
    tax_code     VARCHAR(30),
    phone        VARCHAR(60),
    email        VARCHAR(120),
    city         VARCHAR(80),
    credit_limit NUMERIC(12,2),
    terms_days   INTEGER,
    points       INTEGER       NOT NULL DEFAULT 0,
    parent       INTEGER       REFERENCES party (id),
    active       BOOLEAN       NOT NULL DEFAULT 0,
    create_date  TIMESTAMP     NOT NULL,
    write_date   TIMESTAMP
);
CREATE INDEX party_email ON party (email);
CREATE INDEX party_tax_code ON party (tax_code);
CREATE TRIGGER party_number AFTER INSERT ON party WHEN NEW.code IS NULL
BEGIN
    UPDATE party SET code = printf('P%05d', NEW.id) WHERE id = NEW.id;
END;

CREATE TABLE item (
    id          INTEGER       PRIMARY KEY AUTOINCREMENT,
    sku         VARCHAR(25)   NOT NULL UNIQUE,
    title       VARCHAR(150)  NOT NULL,
    list_price  NUMERIC(12,2) NOT NULL DEFAULT 0,
    active      BOOLEAN       NOT NULL DEFAULT 0,
    create_date TIMESTAMP     NOT NULL,
    write_date  TIMESTAMP
);

CREATE TABLE sale (
    id          INTEGER       PRIMARY KEY AUTOINCREMENT,
    reference   VARCHAR(25)   NOT NULL,
    party       INTEGER       NOT NULL REFERENCES party (id),
    state       VARCHAR(20)   NOT NULL DEFAULT 'draft',
    sale_date   DATE,
    comment     TEXT,
    create_date TIMESTAMP     NOT NULL,
    write_date  TIMESTAMP
);
CREATE INDEX sale_reference ON sale (reference);

CREATE TABLE sale_line (
    id          INTEGER       PRIMARY KEY AUTOINCREMENT,
    sale        INTEGER       NOT NULL REFERENCES sale (id),
    position    INTEGER       NOT NULL,
    item        INTEGER       NOT NULL REFERENCES item (id),
    quantity    NUMERIC(14,3) NOT NULL DEFAULT 1,
    unit_price  NUMERIC(12,2) NOT NULL DEFAULT 0,
    create_date TIMESTAMP     NOT NULL,
    write_date  TIMESTAMP
);
CREATE INDEX sale_line_sale ON sale_line (sale);
