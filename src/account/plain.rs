//! Passwords that everybody tries first.
//!
//! Lists of the passwords that people use most hold, at the length that is asked for here, hardly
//! anything but a few hundred words and walks over the keyboard, with digits, years and signs added,
//! put behind each other or repeated. So it is these that are told, with all their endings, instead of
//! a list of some thousands of results: what remains of a password without them must be something.
//! These are no rules of composition: any text that is not made of these is taken.

/// Characters that must remain.
const MIN_LEFT: usize = 5;
/// Shortest piece of a walk that counts as one.
const MIN_WALK: usize = 3;
/// From this length on text is judged by its beginning, which is long enough.
const MAX_JUDGED_CHARS: usize = 128;

/// Walks over keyboards and alphabets; they count backwards as well.
const WALKS: [&str; 13] = [
    "01234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop[]",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl;",
    "zxcvbnm,./",
    "yxcvbnm",
    "!@#$%^&*()_+",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "qazwsxedcrfvtgbyhnujmikolp",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
];

/// In lower case, without spaces.
const WORDS: &str = "\
access admin administrator adobe airforce alexander alexandra amanda america anderson andrea andrew angel \
anthony apple arsenal asdf ashley asshole august austin autumn baby babygirl bailey banana bandit barcelona \
baseball basketball batman beautiful beaver benjamin berlin bigdaddy bigdog billgates biteme blahblah blaster \
blink182 blowme bonjour booboo boomer boston brandon brandy bullshit buster butterfly butthead caitlin \
california camaro canada captain carlos caroline carolina champion changeit changeme charles charlie charlotte \
cheese chelsea chester chicago chicken chocolate chris christian christina christine christmas chrysler \
claudia cocacola coffee college computer contrasena cookie corvette cowboy cowboys crystal daddy dakota dallas \
daniel danielle darkness david december default deutschland diablo diamond digital direct doctor dolphin \
dolphins dominic donald dragon dragonball eagles edward einstein elephant elizabeth emmanuel england enterprise \
everything explorer extreme facebook faith falcon family february fender ferrari finance firebird fireman \
fishing florida flower flowers football footballfan forever fortnite france francesca francis frankie freddy \
freedom friday friend friends fuck fucker fucking fuckoff fuckyou gabriel gandalf garfield gateway genesis \
george germany gfhjkm giants gibson ginger golden goldfish golfer google gothic grandma green guest guitar \
hahaha hallo hammer hannah happy harley harry heather heaven hello helloworld helpme hockey holland home \
honda hotdog hotmail hunter iceman icecream iloveu iloveyou iloveme infinity inlove installer instagram internet \
isabella jackson jaguar james january jasmine jason jasper jennifer jeremy jessica jesus jesuschrist johnny \
johnson jonathan jordan joseph joshua juventus katherine kevin killer kimberly kitten kristina ladybug lakers \
lauren leather letmein liberty linkedin linux liverpool login london loveme lovely lover loveyou lucky madison \
maggie manager manchester manutd marine marlboro martin master matrix matthew maverick maxwell mercedes merlin \
metallica michael michelle microsoft mickey midnight miller minecraft monday monica monkey monster montana \
morgan mother motorola mountain muffin mustang mypassword naruto nascar natalie natasha newyork nicholas nicole \
nintendo nirvana november nothing october office oliver opensesame operator orange packers panther parola \
parool passion passe passme passord passw0rd passwd password passwort passwordpassword patricia patrick peaches \
peanut pepper phoenix pikachu player playstation please pokemon police porsche precious prince princess \
private promise purple pussy qwert qwerty rabbit rachel raiders rainbow ranger rangers realmadrid rebecca red123 \
redsox richard robert rockstar root russia samantha samsung sandra saturday scooter scorpion scorpio sebastian \
secret security senha september server service shadow shadows shannon sierra silver simple simpsons skywalker \
slayer slipknot smokey snickers snoopy snowball soccer softball something sparky spider spiderman spring \
startrek starwars station stella steelers stephanie stephen steven student stupid success summer sunday sunshine \
superman superstar superuser support sweet sweetheart sweetie swordfish sysadmin system taylor tennis teresa test \
tester testing testtest theone thomas thunder thursday tiffany tigger tiger tinkerbell toor trinity trustme \
trustno1 tuesday tweety twitter united valentina valentine vanessa veronica victor victoria video viking vincent \
wachtwoord warcraft warrior waybill webmaster wednesday welcome westside whatever william willow windows winner \
winston winter wizard wolf wordpass wrestling xavier xbox360 yamaha yankees yellow yourname zachary zaq12wsx zaq1 \
correcthorsebatterystaple";

/// Whether nothing much remains without words and walks that everybody knows.
pub(super) fn is_plain(text: &str) -> bool {
    let lower: Vec<char> =
        text.chars().flat_map(char::to_lowercase).take(MAX_JUDGED_CHARS).collect();
    let read: Vec<char> = lower.iter().map(|c| as_letter(*c)).collect();
    left(&lower) < MIN_LEFT || left(&read) < MIN_LEFT
}

/// `p@ssw0rd` is read as what it stands for.
fn as_letter(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        c => c,
    }
}

/// How many characters remain; of a text that repeats itself, in what it repeats.
fn left(text: &[char]) -> usize {
    let mut is_known = vec![false; text.len()];
    let mut mark = |from: usize, len: usize| {
        is_known.iter_mut().skip(from).take(len).for_each(|known| *known = true);
    };
    for from in 0..text.len() {
        let rest = text.get(from..).unwrap_or_default();
        let walked = WALKS.iter().map(|walk| walk_len(walk, rest)).max().unwrap_or_default();
        mark(
            from,
            [walked, run_len(rest)].into_iter().filter(|len| *len >= MIN_WALK).max().unwrap_or(0),
        );
        mark(from, if is_year(rest) { 4 } else { 0 });
        let word = WORDS.split(' ').filter(|word| begins(rest, word)).map(str::len).max();
        mark(from, word.unwrap_or_default());
    }
    // Spaces and signs between words are nothing by themselves.
    let counts = |(c, known): (&char, &bool)| !known && c.is_alphanumeric();
    let unit = period(text);
    text.iter().zip(&is_known).take(unit).filter(|pair| counts(*pair)).count()
}

fn begins(text: &[char], word: &str) -> bool {
    let mut text = text.iter();
    word.chars().all(|c| text.next() == Some(&c))
}

/// How far a text goes along a walk, in either direction.
fn walk_len(walk: &str, text: &[char]) -> usize {
    let forward: Vec<char> = walk.chars().collect();
    let backward: Vec<char> = walk.chars().rev().collect();
    let along = |steps: &[char]| {
        let first = steps.iter().position(|step| Some(step) == text.first())?;
        let steps = steps.get(first..)?;
        Some(steps.iter().zip(text).take_while(|(step, c)| step == c).count())
    };
    along(&forward).max(along(&backward)).unwrap_or_default()
}

/// How often the first character comes at once.
fn run_len(text: &[char]) -> usize {
    text.iter().take_while(|c| Some(*c) == text.first()).count()
}

fn is_year(text: &[char]) -> bool {
    let century = begins(text, "19") || begins(text, "20");
    century && text.iter().take(4).filter(|c| c.is_ascii_digit()).count() == 4
}

/// The length of what a text repeats, or its own.
fn period(text: &[char]) -> usize {
    let repeats = |unit: &usize| text.iter().zip(text.iter().skip(*unit)).all(|(a, b)| a == b);
    (1..=text.len() / 2).find(repeats).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_tries_first_is_plain() {
        for plain in [
            "password1234",
            "Password123!",
            "P@ssw0rd1234",
            "passwordpassword",
            "qwertyuiop123",
            "1q2w3e4r5t6y",
            "123456789012",
            "987654321987",
            "abcdefghijkl",
            "iloveyou2024",
            "Summer2025!!",
            "Welcome-2-you",
            "liverpool1892",
            "abc123abc123",
            "xk7xk7xk7xk7xk7",
            "administrator1",
            "changeme changeme",
            "correcthorsebatterystaple",
        ] {
            assert!(is_plain(plain), "{plain}");
        }
    }

    #[test]
    fn what_is_made_of_something_else_is_not() {
        for good in [
            "twelve chars",
            "correct horse battery",
            "another long password",
            "83920175846205",
            "Tr0ub4dor und drei",
            "ét bløtt brød til",
            "密码是一个很长的句子",
        ] {
            assert!(!is_plain(good), "{good}");
        }
    }

    /// More than the three thousand that are to be refused.
    #[test]
    fn every_word_is_plain_with_every_common_ending() {
        let endings = ["1", "12", "123", "1234", "12345", "2024", "!", "1!", "123!", "69"];
        let words: Vec<&str> = WORDS.split(' ').collect();
        for word in &words {
            for ending in endings {
                assert!(is_plain(&format!("{word}{ending}")), "{word}{ending}");
                assert!(is_plain(&format!("{}{ending}", word.to_uppercase())), "{word}{ending}");
            }
        }
        assert!(words.len() * endings.len() > 3_000, "{}", words.len());
    }

    #[test]
    fn the_longest_password_is_judged_at_once() {
        assert!(!is_plain(&"a long and winding text ".repeat(3).repeat(15)));
        assert!(is_plain(&"a".repeat(1_024)));
    }
}
