-- One buy as one PostgreSQL function: idempotency key, rate window, per-user limit, stock, hold with expiry, audit entry.
-- The hot row is updated as late as the outcome allows and has room on its page, so that its updates stay there.
create table product (id text primary key, available bigint not null, held bigint not null) with (fillfactor = 10);
create table idempotency (key text primary key, outcome text not null, at timestamptz not null default now());
create table attempt_window (user_id text not null, at timestamptz not null);
create index on attempt_window (user_id, at);
create table units (user_id text, product_id text, n int not null, primary key (user_id, product_id));
create table hold (id text primary key, user_id text, product_id text, quantity int, expires_at timestamptz);
create table audit (id bigint generated always as identity primary key, user_id text, product_id text, outcome text, at timestamptz);
insert into product values ('p-0', 1000000000, 0);

create function buy(p_user text, p_product text, p_quantity int, p_key text) returns text language plpgsql as $$
declare
  seen text;
  result text := 'held';
begin
  select outcome into seen from idempotency where key = p_key;
  if found then return seen; end if;
  if (select count(*) from attempt_window where user_id = p_user and at > now() - interval '10 s') >= 5 then
    return 'rate_limited';
  end if;
  insert into attempt_window values (p_user, now());
  insert into units values (p_user, p_product, p_quantity)
    on conflict (user_id, product_id) do update set n = units.n + excluded.n where units.n + excluded.n <= 1000;
  if not found then
    result := 'per_user_limit';
  else
    update product set available = available - p_quantity, held = held + p_quantity
      where id = p_product and available >= p_quantity;
    if not found then
      result := 'sold_out';
      update units set n = n - p_quantity where user_id = p_user and product_id = p_product;
    else
      insert into hold values (p_key, p_user, p_product, p_quantity, now() + interval '300 s');
    end if;
  end if;
  insert into idempotency (key, outcome) values (p_key, result);
  insert into audit (user_id, product_id, outcome, at) values (p_user, p_product, result, now());
  return result;
end $$;
