-- The CRM's database as its application made it: text keys, soft deletes, no foreign keys.
CREATE TABLE accounts (
    id                   VARCHAR(36)   NOT NULL PRIMARY KEY,
    name                 VARCHAR(150)  NOT NULL,
    phone_office         VARCHAR(100)  DEFAULT '',
    email1               VARCHAR(100)  DEFAULT '',
    vat_c                VARCHAR(30)   DEFAULT '',
    billing_address_city VARCHAR(100)  DEFAULT '',
    credit_limit_c       DECIMAL(26,6),
    payment_days_c       INTEGER,
    bonus_points_c       INTEGER       NOT NULL DEFAULT 0,
    parent_id            VARCHAR(36),
    assigned_user        VARCHAR(60),
    description          TEXT,
    deleted              TINYINT       NOT NULL DEFAULT 0,
    date_entered         DATETIME,
    date_modified        DATETIME
);
CREATE INDEX accounts_email ON accounts (email1);
CREATE INDEX accounts_vat ON accounts (vat_c);

CREATE TABLE products (
    id            VARCHAR(36)   NOT NULL PRIMARY KEY,
    name          VARCHAR(150)  NOT NULL,
    part_number   VARCHAR(25)   NOT NULL,
    price         DECIMAL(26,6) NOT NULL DEFAULT 0,
    deleted       TINYINT       NOT NULL DEFAULT 0,
    date_entered  DATETIME,
    date_modified DATETIME
);
CREATE INDEX products_part_number ON products (part_number);

CREATE TABLE orders (
    id            VARCHAR(36)   NOT NULL PRIMARY KEY,
    number        VARCHAR(25)   NOT NULL,
    account_id    VARCHAR(36),
    stage         VARCHAR(20)   NOT NULL DEFAULT 'draft',
    date_ordered  DATE,
    note          TEXT          DEFAULT '',
    date_entered  DATETIME,
    date_modified DATETIME
);
CREATE INDEX orders_number ON orders (number);

CREATE TABLE order_lines (
    id            VARCHAR(36)   NOT NULL PRIMARY KEY,
    order_id      VARCHAR(36)   NOT NULL,
    line_no       INTEGER       NOT NULL,
    product_id    VARCHAR(36)   NOT NULL,
    qty           DECIMAL(18,4) NOT NULL DEFAULT 1,
    unit_price    DECIMAL(26,6) NOT NULL DEFAULT 0,
    date_entered  DATETIME,
    date_modified DATETIME
);
CREATE INDEX order_lines_order ON order_lines (order_id);
