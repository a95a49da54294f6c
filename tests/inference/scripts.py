"""Words in many scripts, for the tests of drawn text."""

WORDS = {
    "Amharic": "ድመት", "Arabic": "قطة", "Armenian": "կատու", "Bengali": "বিড়াল", "Burmese": "ကြောင်", "Georgian": "კატა",
    "German": "Bär", "Greek": "γάτα", "Gujarati": "બિલાડી", "Hebrew": "חתול", "Hindi": "बिल्ली", "Kannada": "ಬೆಕ್ಕು",
    "Khmer": "ឆ្មា", "Lao": "ແມວ", "Malayalam": "പൂച്ച", "Oriya": "ବିଲେଇ", "Persian": "گربه\u200cای", "Polish": "źdźbło",
    "Punjabi": "ਬਿੱਲੀ", "Russian": "кошка", "Sinhala": "බළලා", "Tamil": "பூனை", "Telugu": "పిల్లి", "Thai": "เก้าอี้",
    "Turkish": "ağaç", "Urdu": "بلی", "Vietnamese": "ghế", "emoji": "👨\u200d👩\u200d👧", "marks": "e\u0301",
}  # fmt: skip
EAST_ASIAN = {"Chinese": "草地", "Japanese": "ねこ", "Korean": "고양이"}
