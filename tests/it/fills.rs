//! Money to the last digit. Every number here was worked by hand, and the working is beside it.

use serde_json::json;

use crate::support::desk::{Desk, Replay, expect_conserved};
use crate::support::run::{expect_money, money};
use crate::support::table::{closes, decimal, spreads};

#[test]
fn an_entry_into_eth_takes_the_ask_and_pays_its_fee_in_eth() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.touch("ETHUSDT", "3000", "3100");
    let told = desk.run().expect_exit(0).json();
    // 150 / 3100 = 0.04838.., in steps of 0.0001: 0.0483. Cost 0.0483 × 3100 = 149.73.
    // The fee of 10 bps is taken out of the coins: 0.0483 × 0.001 = 0.0000483.
    expect_money(
        &told,
        &[
            ("/order/executed_quantity", "0.0483"),
            ("/order/quote_quantity", "149.73"),
            ("/order/average_price", "3100"),
            ("/order/fees/ETH", "0.0000483"),
        ],
    );
    // 0.0483 - 0.0000483 = 0.0482517; 1000 - 149.73 = 850.27.
    let status = desk.status();
    expect_money(
        &status,
        &[
            ("/position/quantity", "0.0482517"),
            ("/position/cost", "149.73"),
            ("/position/entry_price", "3100"),
            ("/paper_balance", "850.27"),
            ("/realized_pnl", "0"),
        ],
    );
    assert_eq!(status["position"]["symbol"], "ETHUSDT");
    assert_eq!(status["position"]["asset"], "ETH");
    assert_eq!(status["position"]["entry_z"], json!(1.5));
    assert_eq!(status["position"]["entry_candle"], json!(desk.server.newest_candle()));
    expect_conserved(&status);
}

#[test]
fn an_exit_takes_the_bid_and_leaves_dust_on_the_books() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().expect_exit(0);
    desk.server.touch("ETHUSDT", "3200", "3201");
    desk.server.close_candle(spreads("20")[0]);
    let told = desk.run().expect_exit(0).json();
    // Of 0.0482517 whole steps are 0.0482. 0.0482 × 3200 = 154.24, its fee 0.15424 in USDT.
    expect_money(
        &told,
        &[
            ("/order/executed_quantity", "0.0482"),
            ("/order/quote_quantity", "154.24"),
            ("/order/average_price", "3200"),
            ("/order/fees/USDT", "0.15424"),
        ],
    );
    // Net 154.08576; less the cost of 149.73: 4.35576. 850.27 + 154.08576 = 1004.35576.
    let status = desk.status();
    expect_money(&status, &[("/paper_balance", "1004.35576"), ("/realized_pnl", "4.35576")]);
    assert_eq!(status["position"], json!(null));
    assert_eq!(status["trades"], 1);
    expect_conserved(&status);
}

#[test]
fn an_entry_into_btc_goes_by_the_steps_of_btc() {
    let desk = Desk::new(spreads("20 20 20 19"));
    desk.server.touch("BTCUSDT", "60000", "62000");
    let told = desk.run().expect_exit(0).json();
    // 150 / 62000 = 0.0024193.., in steps of 0.00001: 0.00241. Cost 149.42, fee 0.00000241 BTC.
    expect_money(
        &told,
        &[
            ("/order/executed_quantity", "0.00241"),
            ("/order/quote_quantity", "149.42"),
            ("/order/fees/BTC", "0.00000241"),
        ],
    );
    let status = desk.status();
    expect_money(&status, &[("/position/quantity", "0.00240759"), ("/paper_balance", "850.58")]);
    desk.server.touch("BTCUSDT", "63000", "63001");
    desk.server.close_candle(spreads("20")[0]);
    let _ = desk.run().expect_exit(0);
    // 0.0024 × 63000 = 151.2, fee 0.1512, net 151.0488; 850.58 + 151.0488 = 1001.6288.
    let status = desk.status();
    expect_money(&status, &[("/paper_balance", "1001.6288"), ("/realized_pnl", "1.6288")]);
}

#[test]
fn dust_goes_along_with_the_next_sale_of_its_asset() {
    let desk = Desk::for_two_more(spreads("20 20 20 21"));
    let _ = desk.run().expect_exit(0);
    desk.server.touch("ETHUSDT", "3200", "3201");
    desk.server.close_candle(spreads("20")[0]);
    let _ = desk.run().expect_exit(0);
    desk.server.touch("ETHUSDT", "3099", "3100");
    desk.server.close_candle(spreads("30")[0]); // 20 21 20 30: z = 1.49
    let _ = desk.run().expect_exit(0);
    // 0.0482517 as before, and 0.0482517 - 0.0482 = 0.0000517 left from the first sale.
    let status = desk.status();
    expect_money(&status, &[("/position/quantity", "0.0483034"), ("/paper_balance", "854.62576")]);
    expect_conserved(&status);
    desk.server.touch("ETHUSDT", "3200", "3201");
    let _ = desk.command(&["flatten", "--yes"]).expect_exit(0);
    // Together they are one step more than either holding alone: 0.0483 × 3200 = 154.56,
    // fee 0.15456, net 154.40544. 854.62576 + 154.40544 = 1009.0312; 4.35576 + 4.67544 = 9.0312.
    let status = desk.status();
    expect_money(&status, &[("/paper_balance", "1009.0312"), ("/realized_pnl", "9.0312")]);
    assert_eq!(status["trades"], 2);
    expect_conserved(&status);
}

#[test]
fn slippage_moves_both_fills_against_us() {
    let slippage = [("SLIPPAGE_BPS", "10")];
    let desk = Desk::new(spreads("20 20 20 21"));
    let told = desk.run().envs(&slippage).expect_exit(0).json();
    // 3100 × 1.001 = 3103.1; 150 / 3103.1 = 0.04833.. -> 0.0483; cost 0.0483 × 3103.1 = 149.87973.
    expect_money(
        &told,
        &[
            ("/order/average_price", "3103.1"),
            ("/order/executed_quantity", "0.0483"),
            ("/order/quote_quantity", "149.87973"),
        ],
    );
    desk.server.touch("ETHUSDT", "3200", "3201");
    desk.server.close_candle(spreads("20")[0]);
    let told = desk.run().envs(&slippage).expect_exit(0).json();
    // 3200 × 0.999 = 3196.8; 0.0482 × 3196.8 = 154.08576; fee 0.15408576.
    expect_money(
        &told,
        &[("/order/average_price", "3196.8"), ("/order/quote_quantity", "154.08576")],
    );
    // 1000 - 149.87973 + 154.08576 - 0.15408576.
    expect_money(&desk.status(), &[("/paper_balance", "1004.05194424")]);
}

#[test]
fn a_slippage_bound_still_fills_at_the_touch() {
    let bound = [("MAX_SLIPPAGE_BPS", "50")];
    let desk = Desk::new(spreads("20 20 20 21"));
    let told = desk.run().envs(&bound).expect_exit(0).json();
    assert_eq!(told["action"], "buy");
    expect_money(&told, &[("/order/average_price", "3100")]);
    // The bound may make the quantity smaller (at worst 150 / 3115.5 = 0.0481), never the bill larger.
    let spent = money(&told, "/order/quote_quantity");
    assert!(spent <= decimal("150") && spent >= decimal("149"), "{spent}");
    desk.expect_conserved();
}

#[test]
fn no_fill_is_worse_than_the_slippage_bound() {
    // The fill would be 20 bps off the touch, and 10 are allowed: nothing or at most that.
    let desk = Desk::new(spreads("20 20 20 21"));
    let settings = [("MAX_SLIPPAGE_BPS", "10"), ("SLIPPAGE_BPS", "20")];
    let outcome = desk.run().envs(&settings).expect_one_of(&[0, 78]);
    let told = outcome.json();
    if told["action"] == "buy" && money(&told, "/order/executed_quantity") > decimal("0") {
        assert!(money(&told, "/order/average_price") <= decimal("3103.1"), "{told:#}");
    }
}

#[test]
fn without_fees_nothing_is_lost_but_the_steps() {
    let free = [("FEE_BPS", "0")];
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().envs(&free).expect_exit(0);
    expect_money(&desk.status(), &[("/position/quantity", "0.0483")]);
    desk.server.touch("ETHUSDT", "3200", "3201");
    desk.server.close_candle(spreads("20")[0]);
    let _ = desk.run().envs(&free).expect_exit(0);
    // 1000 - 149.73 + 0.0483 × 3200 = 1004.83.
    expect_money(&desk.status(), &[("/paper_balance", "1004.83"), ("/realized_pnl", "4.83")]);
}

#[test]
fn another_fee_is_taken_as_it_is_set() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let told = desk.run().env("FEE_BPS", "7").expect_exit(0).json();
    // 0.0483 × 0.0007 = 0.00003381.
    expect_money(&told, &[("/order/fees/ETH", "0.00003381")]);
}

#[test]
fn a_replay_fills_at_the_close_and_rounds_to_eight_decimals() {
    // Spreads 20 20 20 21 20 with a denominator that does not divide 150.
    let rows = closes(
        "60000 3000
         60000 3000
         60000 3000
         62999.79 2999.99
         62000.2 3100.01",
    );
    let replay = Replay::new(&rows);
    let told = replay.run().expect_exit(0).json();
    // 150 / 2999.99 = 0.0500001666.. -> 0.05000016, down.
    // 0.05000016 × 2999.99 = 149.9999799984 -> 149.99998, up.
    // 0.05000016 × 0.001 = 0.00005000016 -> 0.00005001, up.
    expect_money(
        &told,
        &[
            ("/order/average_price", "2999.99"),
            ("/order/executed_quantity", "0.05000016"),
            ("/order/quote_quantity", "149.99998"),
            ("/order/fees/ETH", "0.00005001"),
        ],
    );
    // 0.05000016 - 0.00005001 = 0.04995015; 1000 - 149.99998 = 850.00002.
    let status = replay.status();
    expect_money(&status, &[("/position/quantity", "0.04995015"), ("/paper_balance", "850.00002")]);
    let told = replay.run().expect_exit(0).json();
    // 0.04995015 × 3100.01 = 154.8459645015 -> 154.8459645, down; fee 0.1548459645 -> 0.15484597, up.
    expect_money(
        &told,
        &[
            ("/order/executed_quantity", "0.04995015"),
            ("/order/quote_quantity", "154.8459645"),
            ("/order/fees/USDT", "0.15484597"),
        ],
    );
    // Net 154.69111853; 850.00002 + 154.69111853; profit 154.69111853 - 149.99998.
    let status = replay.status();
    expect_money(&status, &[("/paper_balance", "1004.69113853"), ("/realized_pnl", "4.69113853")]);
    expect_conserved(&status);
}

#[test]
fn a_coin_of_a_thousandth_of_a_cent_is_counted_as_exactly() {
    let rows = closes(
        "60000 0.00001234
         60000 0.00001234
         60000 0.00001234
         63000 0.00001234",
    );
    let replay = Replay::new(&rows);
    let told = replay.run().expect_exit(0).json();
    // 150 / 0.00001234 = 12155591.572123176.., down; times the price 149.99999999999992.., up.
    // The fee is a thousandth of the coins, up: 12155.59157212317 -> 12155.59157213.
    expect_money(
        &told,
        &[
            ("/order/executed_quantity", "12155591.57212317"),
            ("/order/quote_quantity", "150"),
            ("/order/fees/ETH", "12155.59157213"),
        ],
    );
    let status = replay.status();
    expect_money(
        &status,
        &[("/position/quantity", "12143435.98055104"), ("/paper_balance", "850")],
    );
}

#[test]
fn a_losing_trade_is_a_negative_profit() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().expect_exit(0);
    desk.server.touch("ETHUSDT", "3000", "3001");
    desk.server.close_candle(spreads("20")[0]);
    let _ = desk.run().expect_exit(0);
    // 0.0482 × 3000 = 144.6, fee 0.1446, net 144.4554; less 149.73: -5.2746.
    expect_money(&desk.status(), &[("/realized_pnl", "-5.2746"), ("/paper_balance", "994.7254")]);
}

#[test]
fn amounts_have_eight_decimals_and_no_exponent() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let told = desk.run().expect_exit(0).json();
    let order = &told["order"];
    assert_eq!(order["executed_quantity"], "0.04830000");
    assert_eq!(order["quote_quantity"], "149.73000000");
    assert_eq!(order["fees"]["ETH"], "0.00004830");
    let status = desk.status();
    assert_eq!(status["paper_balance"], "850.27000000");
    assert_eq!(status["position"]["quantity"], "0.04825170");
}

#[test]
fn a_new_account_starts_with_the_balance_that_was_set() {
    let desk = Desk::new(spreads("20 20 21 20"));
    let _ = desk.run().env("PAPER_BALANCE_USDT", "250.5").expect_exit(0);
    expect_money(&desk.status(), &[("/paper_balance", "250.5")]);
    // Later the account is what it is, whatever the setting says.
    desk.server.close_candle(spreads("20")[0]);
    let _ = desk.run().env("PAPER_BALANCE_USDT", "9999").expect_exit(0);
    expect_money(&desk.status(), &[("/paper_balance", "250.5")]);
}

#[test]
fn another_amount_is_spent_when_it_is_set() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let told = desk.run().env("TRADE_AMOUNT_USDT", "31").expect_exit(0).json();
    expect_money(&told, &[("/order/executed_quantity", "0.01"), ("/order/quote_quantity", "31")]);
}
